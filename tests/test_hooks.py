"""Answers that would make a broken project are refused, all at once, each with its cure."""

import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
from baking import CONTEXT, ROOT, TEMPLATE, bake
from cookiecutter.exceptions import FailedHookException
from cookiecutter.main import cookiecutter
from jinja2 import TemplateSyntaxError

spec = importlib.util.spec_from_file_location("pre_gen", ROOT / "hooks/pre_gen_project.py")
pre_gen = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pre_gen)

GOOD = {
    "project_name": "Penguin Service",
    "project_slug": "penguin-service",
    "package_name": "penguin_service",
    "description": "One line.",
    "author_name": "The Authors",
    "author_email": "authors@example.com",
    "port": "8000",
}


def faults(**answers):
    return list(pre_gen.faults(GOOD | answers))


def test_good_answers_have_no_fault():
    assert faults() == []


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"package_name": "3d_model"}, "start with a letter"),
        ({"package_name": "Penguin"}, "letters a-z"),
        ({"package_name": "penguin-service"}, "letters a-z"),
        ({"package_name": "pingüin"}, "letters a-z"),
        ({"package_name": "penguin_"}, "not end with a separator"),
        ({"package_name": "x"}, "at least two"),
        ({"package_name": ""}, "at least two"),
        ({"package_name": "class"}, "Python language: add one, as in class_service"),
        ({"package_name": "match"}, "Python language"),
        ({"package_name": "json"}, "Python's own module json"),
        ({"package_name": "flask"}, "the dependency flask: add a word, as in flask_service"),
        ({"package_name": "sklearn"}, "the dependency sklearn"),
        ({"package_name": "joblib"}, "the dependency joblib"),
        ({"package_name": "PIL"}, "letters a-z"),
        ({"package_name": "tests"}, "used inside the project"),
        ({"project_slug": "3d-model"}, "start with a letter"),
        ({"project_slug": "penguin_service"}, "single hyphens"),
        ({"project_slug": "penguin--service"}, "single hyphens"),
        ({"project_slug": "scikit-learn"}, "the dependency scikit_learn"),
        ({"project_slug": "a/../b"}, "letters a-z"),
        ({"project_slug": "p" * 64}, "63"),
        ({"port": "1023"}, "from 1024 to 65535"),
        ({"port": "65536"}, "from 1024 to 65535"),
        ({"port": "http"}, "from 1024 to 65535"),
        ({"port": "٨٠٨٠"}, "from 1024 to 65535"),
        ({"port": ""}, "from 1024 to 65535"),
        ({"project_name": " "}, "project_name is empty"),
        ({"description": "two\nlines"}, "give one plain line"),
        ({"description": "bell\a"}, "give one plain line"),
        ({"author_name": ""}, "author_name is empty"),
        ({"author_email": "nobody"}, "for example me@example.com"),
        ({"author_email": 'a"b@c'}, "for example me@example.com"),
    ],
)
def test_each_bad_answer_has_its_message(answers, words):
    [fault] = faults(**answers)
    assert words in fault
    assert next(iter(answers)) in fault


def test_all_faults_are_told_at_once(tmp_path, capfd):
    with pytest.raises(FailedHookException):
        bake(tmp_path, project_slug="3d-model", package_name="flask", port="80", description=" ")
    told = capfd.readouterr().err
    for words in ("project_slug", "package_name", "port '80'", "description is empty"):
        assert words in told
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_makes_no_module_is_refused(tmp_path, capfd):
    with pytest.raises(FailedHookException):
        bake(tmp_path, project_name="3D Model")
    assert "start with a letter" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_broken_jinja_in_an_answer_is_refused_before_anything_is_written(tmp_path):
    """cookiecutter itself renders what is given on the command line."""
    with pytest.raises(TemplateSyntaxError):
        bake(tmp_path, description="{{ no such thing")
    assert list(tmp_path.iterdir()) == []


def test_jinja_in_a_typed_answer_arrives_as_it_is(tmp_path):
    """What is typed at a prompt, or replayed, is not rendered."""
    text = "{{ 7 * 7 }} {% raw %} {# x #}"
    replay = tmp_path / "replay.json"
    replay.write_text(json.dumps({"cookiecutter": {**CONTEXT, **GOOD, "description": text}}))
    context = json.loads(replay.read_text())
    context["cookiecutter"] |= {"license": "MIT", "include_github_actions": True}
    replay.write_text(json.dumps(context))
    made = cookiecutter(str(ROOT), replay=str(replay), output_dir=str(tmp_path / "out"))
    metadata = tomllib.loads((Path(made) / "pyproject.toml").read_text(encoding="utf-8"))
    assert metadata["project"]["description"] == text
    assert text in (Path(made) / "README.md").read_text(encoding="utf-8")


def test_what_is_installed_cannot_be_hidden(installed):
    """The hook's list holds every distribution and every module that the locks bring."""
    printed = installed.run(
        ".venv/bin/python",
        "-c",
        "import json; from importlib import metadata as m;"
        "print(json.dumps([sorted(m.packages_distributions()),"
        "sorted(d.name for d in m.distributions())]))",
    ).stdout
    modules, distributions = json.loads(printed)
    locked = set()
    for lock in (TEMPLATE / "requirements").glob("*.txt"):
        if lock.name != "clients.txt":  # an environment of its own
            locked |= set(re.findall(r"^([a-z0-9._-]+)==", lock.read_text(), re.MULTILINE))
    names = {name.replace("-", "_").replace(".", "_").lower() for name in (*distributions, *locked)}
    names |= {module for module in modules if re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", module)}
    expected = names - {"penguin_service"} - sys.stdlib_module_names
    assert expected - pre_gen.TAKEN == set()
    # These come with the interpreter or the system, so not everywhere.
    elsewhere = {"pip", "pkg_resources", "setuptools", "colorama"}
    # Modules of the CUDA image alone.
    elsewhere |= {"cuda", "cupy", "cupyx", "libnvforest", "libraft", "librmm", "nvforest", "nvidia"}
    elsewhere |= {"pylibraft", "rmm"}
    assert pre_gen.TAKEN - expected - elsewhere == set(), "no longer installed"


def test_folders_of_the_project_are_reserved(default):
    folders = {p.name for p in default.path.iterdir() if p.is_dir() and not p.name.startswith(".")}
    assert folders - {"src"} <= pre_gen.OURS


def test_hooks_use_the_standard_library_alone_and_touch_nothing_else():
    for hook in (ROOT / "hooks").glob("*.py"):
        imported = re.findall(r"^(?:import|from) (\w+)", hook.read_text(), re.MULTILINE)
        assert set(imported) <= {"json", "keyword", "re", "shutil", "sys"}, hook
