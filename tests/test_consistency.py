"""What the repository says twice, it says alike; what it must not say, it does not."""

import ast
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from baking import CHANGED, CONTEXT, OPTIONS, ROOT, TEMPLATE, listed

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def texts():
    """Every text file of the repository."""
    for name in listed():
        if not name.endswith((".joblib", ".plan", ".png")):
            yield name, (ROOT / name).read_text(encoding="utf-8")


def test_at_most_ten_prompts_each_with_a_label():
    assert len(OPTIONS) <= 10
    assert CONTEXT["__prompts__"].keys() == set(OPTIONS) == CHANGED.keys()
    choices = CONTEXT["__prompts__"]["license"]
    assert choices.keys() - {"__prompt__"} == set(CONTEXT["license"])


def test_every_option_is_in_the_readme_and_no_other():
    table = re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert table == OPTIONS


def test_every_option_used_by_makefile_and_workflows_exists():
    """cookiecutter ignores an unknown option in silence."""
    for path in (ROOT / "Makefile", *WORKFLOWS):
        used = re.findall(r"cookiecutter [^\n]*", path.read_text())
        for name in re.findall(r"\b([a-z_]+)=", " ".join(used)):
            assert name in OPTIONS, f"{path}: {name}"


def test_readme_is_short_and_names_real_commands():
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    assert len(readme.splitlines()) <= 120
    for target in re.findall(r"`make ([a-z]+)", readme):
        assert re.search(
            rf"^{target}:", makefile + (TEMPLATE / "Makefile").read_text(), re.MULTILINE
        )


def test_versions_are_said_alike():
    for name in ("Dockerfile", "Dockerfile.cuda"):
        assert f"ARG BASE={CONTEXT['_base_image']}\n" in (TEMPLATE / name).read_text()
    assert f"python:{CONTEXT['_python_version']}-" in CONTEXT["_base_image"]
    for workflow in (*WORKFLOWS, *(TEMPLATE / ".github/workflows").glob("*.yml")):
        for version in re.findall(r'python-version: "?([\d.]+)', workflow.read_text()):
            assert version == CONTEXT["_python_version"], workflow


def test_the_two_dockerfiles_differ_only_where_they_must():
    one, two = ((TEMPLATE / name).read_text() for name in ("Dockerfile", "Dockerfile.cuda"))
    base, two = two.split("# ---- build", 1)  # with Python where BASE has none
    assert base.endswith("}\n\n")
    two = two.replace("FROM base", "FROM ${BASE}")
    two = re.sub(r"# LIBRARIES=.*?\$\{LIBRARIES\}\.txt\n(?=#)", "", two, flags=re.DOTALL)
    one = one.split("# ---- build", 1)[1]
    one, *others = one.split("# ---- sagemaker")  # which runs CPU images of its own
    assert len(others) == 1
    steps = [
        re.findall(r"^(?:FROM|RUN|COPY|USER|ENTRYPOINT|CMD|STOPSIGNAL|HEALTHCHECK).*", t, re.M)
        for t in (one, two)
    ]
    assert steps[0] == steps[1]


def test_locks_hold_hashes_and_no_addresses_and_agree():
    versions: dict[str, str] = {}
    locks = [ROOT / "requirements.txt", ROOT / "benchmarks/requirements.txt"]
    locks += [*sorted((TEMPLATE / "requirements").glob("*.txt"))]
    for lock in locks:
        text = lock.read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"https?:|--index|--find-links|file:", text), lock
        pins = re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", text, re.MULTILINE)
        assert len(pins) == len(dict(pins)), f"{lock} has two versions of a package"
        if lock.parent != ROOT and lock.name != "clients.txt":  # an environment of its own
            for name, version in pins:
                assert versions.setdefault(name, version) == version, f"{name} in {lock}"
    for chosen in (TEMPLATE / "requirements").glob("*.in"):
        assert chosen.with_suffix(".txt") in locks


def test_every_dependency_has_its_reason_in_decisions():
    decisions = (ROOT / "docs/decisions.md").read_text()
    own = (ROOT / "requirements.in", ROOT / "benchmarks/requirements.in")
    for chosen in (*own, *(TEMPLATE / "requirements").glob("*.in")):
        for name in re.findall(r"^([a-z][a-z0-9-]*)", chosen.read_text(), re.MULTILINE):
            assert f"`{name}`" in decisions, f"{name} of {chosen.name}"


def test_every_setting_and_route_has_its_reason_in_decisions():
    decisions = (ROOT / "docs/decisions.md").read_text()
    package = TEMPLATE / "src/{{cookiecutter.package_name}}"
    settings = (package / "serving/settings.py").read_text()
    names = re.findall(r"^    ([a-z_]+): ", settings.split("def ")[0], re.MULTILINE)
    assert len(names) >= 7
    readme = (TEMPLATE / "README.md").read_text()
    for name in [name.upper() for name in names] + re.findall(
        r"^\| `\w+ (/[a-z/]+)`", readme, re.M
    ):
        assert f"`{name}`" in decisions, name


def test_no_address_of_an_index_and_no_path_of_a_machine():
    # Put together here, so that this file does not hold what it looks for.
    hosts = "|".join(
        ("py" + "pi", "python" + "hosted", "deb" + "[.]debian", "registry[.]npm" + "js")
    )
    machine = "|".join(("wo" + "rk", "fa" + "rm", "ho" + "me", "Us" + "ers"))
    for name, text in texts():
        assert not re.search(rf"({hosts})[.]org", text), name
        assert not re.search(rf"(^|[^A-Za-z0-9_.$}}])/({machine})/", text), name


def test_style_of_the_template_s_own_code():
    for arguments in (["check", "--no-cache"], ["format", "--no-cache", "--check"]):
        ruff = Path(sys.executable).with_name("ruff")
        done = subprocess.run([ruff, *arguments, "."], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_modules_dockerfiles_workflows_and_locks_hold_no_jinja():
    for path in TEMPLATE.rglob("*"):
        relative = path.relative_to(TEMPLATE).as_posix()
        plain = path.suffix == ".py" or relative.startswith(
            ("Dockerfile", "requirements/", ".github/")
        )
        if path.is_file() and plain:
            assert not re.search(r"\{\{ *cookiecutter|\{%", path.read_text(encoding="utf-8")), (
                relative
            )


def lines_of_code(text):
    """As cloc counts them: without blank lines, comments and docstrings."""
    count = sum(1 for line in text.splitlines() if line.strip() and line.strip()[0] != "#")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            count -= sum(1 for line in ast.get_source_segment(text, node).splitlines() if line)
    return count


def test_the_code_is_small():
    """No long file, and a core that is read in half an hour; tests and rooms do not count."""
    package = TEMPLATE / "src/{{cookiecutter.package_name}}"
    app = (package / "serving/app.py").read_text()
    listed_rooms = re.search(r"^ROOMS = \((.*?)\)", app, re.MULTILINE | re.DOTALL)[1]
    rooms = re.findall(r'"(\w+)"', listed_rooms)
    core = -len(rooms)  # a list of names, a line each
    assert len(rooms) >= 3
    for path in TEMPLATE.rglob("*.py"):
        if "tests" not in path.parts:
            text = path.read_text(encoding="utf-8")
            most = 200 if path.parent.name == "dialects" else 250
            assert len(text.splitlines()) <= most, path
            if path.parent in (package / "model", package / "serving") and path.stem not in rooms:
                core += lines_of_code(text) * (path.stem != "cells")  # of `score` and of dialects
                assert "import cells" not in text, path
                assert ".cells import" not in text, path
    assert 500 < core <= 1050, core  # about 1,000


def test_generated_modules_import_one_way():
    """cli -> training, serving -> model; serving -> operations; model imports neither."""
    allowed = {
        "model": set(),
        "operations": set(),
        "training": {"model"},
        "serving": {"model", "operations"},
        "cli": {"model", "operations", "training", "serving"},
    }
    package = TEMPLATE / "src/{{cookiecutter.package_name}}"
    for path in package.rglob("*.py"):
        room, *inner = path.relative_to(package).parent.parts or ("",)
        up = "." * (len(inner) + 2)  # to the package itself
        for name in re.findall(rf"^ *from {re.escape(up)}(\w+)?", path.read_text(), re.MULTILINE):
            assert not name or name in allowed[room], f"{path}: {name}"


def test_copied_paths_are_those_without_jinja():
    assert "*.py" in CONTEXT["_copy_without_render"]
    assert CONTEXT["_new_lines"] == "\n"
    assert CONTEXT["_jinja2_env_vars"] == {"trim_blocks": True, "lstrip_blocks": True}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_ask_for_little(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False


def test_the_shipped_manifest_speaks_of_the_shipped_data():
    manifest = json.loads((TEMPLATE / "models/manifest.json").read_text())
    data, artifact = TEMPLATE / "data/penguins.csv", TEMPLATE / "models/model.joblib"
    assert manifest["training"]["data_sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert manifest["artifact"]["sha256"] == hashlib.sha256(artifact.read_bytes()).hexdigest()
    assert len(data.read_text().splitlines()) == 345
