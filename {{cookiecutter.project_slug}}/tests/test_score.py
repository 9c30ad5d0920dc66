"""`score`: the answers of the service for a file, and nothing lost of it."""

import pandas as pd
import pytest
from project import run

pytestmark = pytest.mark.usefixtures("in_the_project")

ANSWERS = [
    "prediction",
    "probability_Adelie",
    "probability_Chinstrap",
    "probability_Gentoo",
    "flags",
]


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
        "a,Biscoe,4000,\n\n"
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
        '4,"has 2 cells, not 4",d,Dream,,',
        '5,"has 5 cells, not 4; surplus: extra",e,Dream,4000,male',
    ]


def test_score_of_a_regression(tmp_path, regression):
    (tmp_path / "rows.csv").write_text("area,id\n2,a\n0.5,b\n")
    made = tmp_path / "scored.parquet"
    code, printed = run("score", tmp_path / "rows.csv", made, "--models", regression)
    assert code == 0, printed
    scored = pd.read_parquet(made)
    assert scored["prediction"].tolist() == pytest.approx([16.0, 11.5])
    assert scored["flags"].tolist() == ["area:above_maximum", ""]


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
        ("rows.csv", b"island\n" + b"Dream\n" * 5000 + b"\xff\n", "no UTF-8 text"),  # late
        ("rows.parquet", b"PAR1 not really", "no readable Parquet file"),
        ("rows.xlsx", b"", "must end in .csv or .parquet"),
    ],
)
def test_score_of_a_file_that_is_no_table(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "scored.csv").write_text("of yesterday")
    code, printed = run("score", tmp_path / name, tmp_path / "scored.csv", "--chunk", "100")
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
        manifest["golden"] = []

    (tmp_path / "rows.csv").write_text("island,sex\nDream,NA\nDream,null\n")
    code, _ = run("score", tmp_path / "rows.csv", tmp_path / "o.csv", "--models", edit(rename))
    assert code == 0
    # NA is a known category here, so it is neither missing nor flagged.
    assert pd.read_csv(tmp_path / "o.csv")["flags"].isna().all()
