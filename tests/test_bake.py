"""Generated projects: the exact files, well formed, formatted, and the same each time."""

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from baking import CHANGED, CONTEXT, OPTIONS, ROOT, TEMPLATE, Bake, bake, environment, listed

NASTY = [
    {"project_name": "Prévision Météo"},
    {"project_name": "Ünïcode ñame", "author_name": "Ærøskøbing"},
    {"project_name": "Quote\" and 'quote'"},
    {"project_name": "Back\\slash"},
    {"description": "ends with a backslash \\"},
    {"description": "three \"\"\" quotes and ''' three"},
    {"description": "tabs no, but # hash: colon, {brace} [bracket] <tag> & %percent% $HOME `x`"},
    {"description": "emoji 🐧 and 潮"},
    {"author_name": 'O\'Brien "the\\" dev'},
]


def expected(package: str = "penguin_service", github: bool = True) -> set[str]:
    """The files that a project must have: those of the template, and no stray one."""
    names = {name.removeprefix(f"{TEMPLATE.name}/") for name in listed(TEMPLATE.name)}
    names = {name.replace("{{cookiecutter.package_name}}", package) for name in names}
    return {name for name in names if github or not name.startswith(".github/")}


def check_well_formed(project: Bake) -> None:
    """Every file that a machine reads can be read, and nothing of the template is left."""
    for name in project.files():
        path = project.path / name
        if path.suffix in (".joblib", ".plan", ".png"):
            continue
        text = path.read_bytes().decode("utf-8")
        assert text.endswith("\n"), name
        assert "\r" not in text, name
        assert not re.search(r"cookiecutter\.", text), name
        if not name.startswith((".github", "monitoring")) and path.suffix != ".html":
            # ${{ }} is GitHub's own, {{ $labels }} Prometheus', {{label}} Grafana's; pages are
            # templates of the service.
            assert not re.search(r"\{\{ |\{%", text), name
        if not name.endswith(("Apache-2.0", "LICENSE", "README.md")):
            assert "\n\n\n\n" not in text, name
        if path.suffix == ".toml":
            tomllib.loads(text)
        elif path.suffix in (".yaml", ".yml"):
            yaml.safe_load(text)
        elif path.suffix == ".json":
            json.loads(text)


def check_style(project: Bake, tools: Bake) -> None:
    """`make lint`, with the tools of another project's environment."""
    bin_ = tools.path / ".venv/bin"
    project.run(bin_ / "ruff", "check", "--no-cache", ".")
    project.run(bin_ / "ruff", "format", "--no-cache", "--check", ".")
    project.run(bin_ / "mypy", "--cache-dir", os.devnull, "--python-executable", bin_ / "python")


def test_default(default, installed):
    assert default.files() == expected()
    check_well_formed(default)
    check_style(default, installed)


@pytest.mark.parametrize("option", OPTIONS)
def test_one_option_changed(option, tmp_path, default, installed):
    project = bake(tmp_path, **{option: CHANGED[option]})
    name, slug = CHANGED["project_name"], CHANGED["project_slug"]
    package = {"project_name": "tide_gauge", "project_slug": "tide_watch", "package_name": "gauge"}
    packaged = package.get(option, "penguin_service")
    assert project.files() == expected(packaged, option != "include_github_actions")
    check_well_formed(project)
    assert differing(project, default, packaged), f"{option} changes nothing"
    if option in ("package_name", "description", "author_name"):
        check_style(project, installed)
    assert project.path.name == {"project_name": "tide-gauge", "project_slug": slug}.get(
        option, "penguin-service"
    )
    if option == "project_name":
        assert project.text("README.md").startswith(f"# {name}\n")


def differing(project: Bake, other: Bake, package: str) -> list[str]:
    """Files of one project that the other does not have in the same bytes."""
    names = {n.replace(f"src/{package}/", "src/penguin_service/"): n for n in project.files()}
    return [
        name
        for name in names.keys() | other.files()
        if name not in names
        or not (other.path / name).exists()
        or not filecmp.cmp(project.path / names[name], other.path / name, shallow=False)
    ]


def test_all_options_changed(changed, installed):
    assert changed.files() == expected("gauge", github=False)
    check_well_formed(changed)
    check_style(changed, installed)
    project = tomllib.loads(changed.text("pyproject.toml"))["project"]
    assert project["name"] == CHANGED["project_slug"]
    assert project["description"] == CHANGED["description"]
    person = {"name": CHANGED["author_name"], "email": CHANGED["author_email"]}
    assert project["authors"] == [person]
    assert project["license"] == CHANGED["license"]
    assert "Apache License" in changed.text("LICENSE")
    compose = yaml.safe_load(changed.text("compose.yaml"))
    assert compose["name"] == "tide-watch"
    assert compose["services"]["api"]["ports"] == ["127.0.0.1:${PORT:-9001}:8000"]
    assert "PORT=9001\n" in changed.text(".env.example")
    assert "penguin-service" not in "".join(changed.text(n) for n in ("README.md", "Makefile"))


@pytest.mark.parametrize("answers", NASTY, ids=lambda answers: next(iter(answers.values()))[:24])
def test_nasty_but_legal_text_arrives_as_it_is(answers, tmp_path):
    project = bake(tmp_path, **answers)
    check_well_formed(project)
    metadata = tomllib.loads(project.text("pyproject.toml"))["project"]
    if "description" in answers:
        assert metadata["description"] == answers["description"]
        assert answers["description"] in project.text("README.md")
    if "author_name" in answers:
        assert metadata["authors"][0]["name"] == answers["author_name"]
        assert answers["author_name"] in project.text("LICENSE")
    if "project_name" in answers:
        assert project.text("README.md").startswith(f"# {answers['project_name']}\n")


def test_the_same_answers_give_the_same_bytes(tmp_path, changed):
    again = bake(tmp_path, **CHANGED)
    assert again.files() == changed.files()
    for name in again.files():
        assert filecmp.cmp(again.path / name, changed.path / name, shallow=False), name
        mode = (again.path / name).stat().st_mode
        assert mode == (changed.path / name).stat().st_mode, name


@pytest.mark.parametrize("choice", CONTEXT["license"])
def test_each_licence(choice, tmp_path):
    project = bake(tmp_path, license=choice, author_name="Ada")
    text = project.text("LICENSE")
    assert "Copyright" in text
    assert "Ada" in text
    words = {"MIT": "MIT License", "BSD-3-Clause": "BSD 3-Clause", "Apache-2.0": "Version 2.0"}
    assert words.get(choice, "All rights reserved") in text


def test_next_steps_are_printed(tmp_path, capfd):
    bake(tmp_path, port="9001")
    printed = capfd.readouterr().out
    assert "cd penguin-service" in printed
    assert "make install" in printed
    assert "http://127.0.0.1:9001" in printed


def command(name: str) -> Path:
    return Path(sys.executable).with_name(name)


def test_cruft_and_plain_cookiecutter_and_replay_give_the_same(tmp_path, default):
    """cruft clones a repository, so it gets one that holds the working tree as it is."""
    repository, home = tmp_path / "template", tmp_path / "home"
    home.mkdir()
    shutil.copytree(ROOT, repository, ignore=shutil.ignore_patterns(".git", ".venv", "build"))
    git = [
        "git",
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.com",
        "-c",
        "commit.gpgsign=false",
    ]
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "t"]):
        subprocess.run([*git, *arguments], cwd=repository, check=True)
    env = environment(HOME=str(home))

    def made(folder: str, *arguments: str) -> Bake:
        output = tmp_path / folder
        subprocess.run([*arguments, "--output-dir", str(output)], env=env, check=True)
        return Bake(output / "penguin-service")

    plain = made("plain", command("cookiecutter"), "--no-input", str(repository))
    replayed = made("replayed", command("cookiecutter"), "--replay", str(repository))
    crufted = made("crufted", command("cruft"), "create", "--no-input", str(repository))
    assert crufted.files() == default.files() | {".cruft.json"}
    for project in (plain, replayed, crufted):
        for name in default.files():
            assert filecmp.cmp(project.path / name, default.path / name, shallow=False), name


def test_the_kubernetes_overlay_asks_for_a_gpu(changed):
    folder = changed.path / "deploy/kubernetes"
    base = yaml.safe_load((folder / "base/kustomization.yaml").read_text())
    parts = {
        name: yaml.safe_load((folder / "base" / name).read_text()) for name in base["resources"]
    }
    deployment, service = parts["deployment.yaml"], parts["service.yaml"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels == service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    pod = deployment["spec"]["template"]["spec"]
    [api] = pod["containers"]
    assert [image["name"] for image in base["images"]] == [api["image"]] == ["tide-watch"]
    assert service["spec"]["ports"][0]["targetPort"] == api["ports"][0]["name"]
    compose = yaml.safe_load(changed.text("compose.yaml"))["services"]["api"]
    assert f"{pod['terminationGracePeriodSeconds']}s" == compose["stop_grace_period"]
    assert {volume["name"] for volume in pod["volumes"]} == {m["name"] for m in api["volumeMounts"]}
    overlay = yaml.safe_load((folder / "overlays/cuda/kustomization.yaml").read_text())
    assert overlay["resources"] == ["../../base"]
    [patch] = overlay["patches"]
    patched = yaml.safe_load((folder / "overlays/cuda" / patch["path"]).read_text())
    assert patched["metadata"]["name"] == deployment["metadata"]["name"]
    [gpu] = patched["spec"]["template"]["spec"]["containers"]
    assert gpu["name"] == api["name"]
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert {"name": "MODEL_DEVICE", "value": "cuda"} in gpu["env"]
