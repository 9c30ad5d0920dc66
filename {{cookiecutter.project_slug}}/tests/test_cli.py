"""The commands as a person runs them."""

import json
import socket
import subprocess

import pandas as pd
import pytest
from click.testing import CliRunner
from project import COMMAND, ROOT, load

FEATURES = ["island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex"]
ANSWERS = [
    "prediction",
    "probability_Adelie",
    "probability_Chinstrap",
    "probability_Gentoo",
    "flags",
]


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        monkeypatch.setenv("PORT", str(probe.getsockname()[1]))
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments, **environment):
    """Run a command in this process: exit code, and all that it printed."""
    done = CliRunner().invoke(load("cli").main, [str(a) for a in arguments], env=environment)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_help_lists_every_command():
    code, output = run("--help")
    assert code == 0
    for name in load("cli").COMMANDS:
        assert f"  {name} " in output


def test_the_installed_command_is_this_one():
    done = subprocess.run([COMMAND, "check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "golden rows" in done.stdout


def test_check_says_what_it_found_and_fails_on_a_broken_model(edit):
    code, output = run("check")
    assert code == 0
    assert "golden rows" in output
    assert "largest difference 0" in output
    broken = edit(lambda m: m["golden"][0]["output"].update(label="Dodo"))
    code, output = run("check", "--models", broken)
    assert code == 1
    assert "golden row 0" in output


def test_train_writes_a_model_folder(tmp_path):
    code, output = run("train", "--models", tmp_path / "new")
    assert code == 0
    assert "balanced_accuracy" in output
    assert run("check", "--models", tmp_path / "new")[0] == 0


def test_train_refuses_a_candidate_below_the_record(edit):
    folder = edit(lambda m: m["metrics"].update(balanced_accuracy=0.9999))
    code, output = run("train", "--models", folder)
    assert code == 1
    assert "below the recorded model's 0.9999" in output
    assert run("train", "--accept", "--models", folder)[0] == 0


def test_doctor_finds_nothing_wrong(tmp_path):
    code, output = run("doctor", LOG_DIR=str(tmp_path), WEB_CONCURRENCY="1")
    assert code == 0, output
    assert "Nothing is wrong" in output
    for words in ("CPUs", "OMP_NUM_THREADS", "memory a worker", "scikit-learn"):
        assert words in output


def test_doctor_names_all_that_is_wrong(tmp_path, edit):
    folder = edit(lambda m: m["artifact"].update(sha256="0" * 64))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, output = run(
            "doctor", "--models", folder, LOG_DIR=str(tmp_path / "none"), PORT=port,
            WEB_CONCURRENCY="64", OMP_NUM_THREADS="8",
        )  # fmt: skip
    assert code == 1
    for words in ("has sha256", f"PORT={port}", "`make init`", "64 workers of 8 threads"):
        assert words in output


@pytest.mark.parametrize("source", ["csv", "parquet"])
@pytest.mark.parametrize("output", ["csv", "parquet"])
def test_score_answers_as_the_service_does(tmp_path, table, rows, client, source, output):
    given, made = tmp_path / f"rows.{source}", tmp_path / f"scored.{output}"
    table.to_csv(given, index=False) if source == "csv" else table.to_parquet(given, index=False)
    code, printed = run("score", given, made, "--chunk", "100")
    assert code == 0, printed
    assert "344 rows scored" in printed
    scored = pd.read_csv(made) if output == "csv" else pd.read_parquet(made)
    assert list(scored.columns) == [*table.columns, *ANSWERS]
    answers = client.post("/predict", json={"instances": rows}).get_json()["predictions"]
    assert scored["prediction"].tolist() == [answer["label"] for answer in answers]
    for name in ("Adelie", "Chinstrap", "Gentoo"):
        shares = [answer["probabilities"][name] for answer in answers]
        assert scored[f"probability_{name}"].tolist() == shares
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([given.name, made.name])


def test_score_puts_bad_rows_aside_with_the_reason(tmp_path):
    given, made = tmp_path / "rows.csv", tmp_path / "scored.csv"
    given.write_text(
        "id,island,body_mass_g,sex\n"
        "a,Biscoe,4000,\n"
        "b,,heavy,male\n"
        "c,Dream,inf,male\n"
        "d,Dream\n"
        "e,Dream,4000,male,extra\n"
        'f,"Torgersen",NA,"unknown, really"\n',
        encoding="utf-8-sig",
    )
    code, printed = run("score", given, made)
    assert code == 3
    assert "2 rows scored" in printed
    assert "4 rows rejected" in printed
    scored = pd.read_csv(made)
    assert scored["id"].tolist() == ["a", "f"]
    assert scored["flags"].tolist()[1] == "sex:unknown_category"
    assert (tmp_path / "scored.rejects.csv").read_text().splitlines() == [
        "row,reasons,id,island,body_mass_g,sex",
        '2,"island must not be null; body_mass_g must be a number, got a string",b,,heavy,male',
        "3,body_mass_g must be a finite number,c,Dream,inf,male",
        '4,"has 2 cells, the first line has 4",d,Dream',
        '5,"has 5 cells, the first line has 4",e,Dream,4000,male,extra',
    ]


def test_score_of_rows_that_are_all_bad_keeps_the_form(tmp_path):
    given, made = tmp_path / "rows.csv", tmp_path / "scored.parquet"
    given.write_text("island\n,\n" + ",\n" * 20 + "Biscoe\n")
    assert run("score", given, made, "--chunk", "5")[0] == 3
    assert pd.read_parquet(made)["island"].tolist() == ["Biscoe"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.csv", b"", "first line must name each column"),
        ("rows.csv", b"island,island\n", "first line must name each column"),
        ("rows.csv", b"sex\nmale\n", "no column island"),
        ("rows.csv", b"island,prediction\nDream,x\n", "already; rename it"),
        ("rows.csv", b"island\n\xff\xfe\n", "no UTF-8 text"),
        ("rows.parquet", b"PAR1 not really", "no readable Parquet file"),
        ("rows.xlsx", b"", "must end in .csv or .parquet"),
    ],
)
def test_score_of_a_file_that_is_no_table(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "scored.csv").write_text("of yesterday")
    code, printed = run("score", tmp_path / name, tmp_path / "scored.csv")
    assert code == 1
    assert words in printed
    # Nothing is half written, and what was there stays.
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "scored.csv"])
    assert (tmp_path / "scored.csv").read_text() == "of yesterday"


def test_score_reads_a_category_named_like_a_missing_value(tmp_path, edit):
    def rename(manifest):
        for feature in manifest["features"]:
            if feature["name"] == "sex":
                feature["categories"] = ["NA", "male"]

    (tmp_path / "rows.csv").write_text("island,sex\nDream,NA\nDream,null\n")
    code, _ = run("score", tmp_path / "rows.csv", tmp_path / "o.csv", "--models", edit(rename))
    assert code == 0
    # NA is a known category here, so it is neither missing nor flagged.
    assert pd.read_csv(tmp_path / "o.csv")["flags"].isna().all()


def test_serve_outside_the_project_says_where_to_go(tmp_path):
    done = subprocess.run([COMMAND, "serve"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "run this in the project's folder" in done.stderr


def test_serve_refuses_a_wrong_number_of_workers():
    code, output = run("serve", WEB_CONCURRENCY="two")
    assert code == 1
    assert "WEB_CONCURRENCY='two'" in output


def test_the_manifest_is_valid_by_its_own_schema():
    import msgspec

    manifest = load("model.manifest")
    written = json.loads((ROOT / "models/manifest.json").read_text())
    assert msgspec.convert(written, manifest.Manifest) == manifest.read(ROOT / "models")
