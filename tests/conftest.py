"""Fixtures: generated projects, shared by the tests that only read or run them."""

import os
import subprocess

import pytest
from baking import CHANGED, Bake, bake, install


@pytest.fixture(scope="session")
def default(tmp_path_factory: pytest.TempPathFactory) -> Bake:
    """The default project."""
    return bake(tmp_path_factory.mktemp("default"))


@pytest.fixture(scope="session")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Bake:
    """The project with every option changed."""
    return bake(tmp_path_factory.mktemp("changed"), **CHANGED)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Bake:
    """The default project with its environment, by its own `make install`."""
    project = bake(tmp_path_factory.mktemp("installed"))
    project.run("make", "install")
    return project


@pytest.fixture(scope="session")
def changed_installed(tmp_path_factory: pytest.TempPathFactory) -> Bake:
    """The project with every option changed, and its environment."""
    project = bake(tmp_path_factory.mktemp("changed-installed"), **CHANGED)
    install(project)
    return project


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip container tests where no engine answers; REQUIRE_DOCKER=1 lets them fail there."""
    marked = [item for item in items if item.get_closest_marker("docker")]
    if not marked or os.environ.get("REQUIRE_DOCKER"):
        return
    try:
        answers = subprocess.run(["docker", "version"], capture_output=True).returncode == 0
    except FileNotFoundError:
        answers = False
    for item in marked if not answers else ():
        item.add_marker(pytest.mark.skip(reason="no container engine answers to `docker`"))


@pytest.fixture(autouse=True)
def no_defaults_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's own cookiecutter settings must not reach the tests."""
    monkeypatch.setenv("COOKIECUTTER_CONFIG", os.devnull)
