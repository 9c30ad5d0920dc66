"""Generates projects for the tests, and runs commands in them as a user's shell would."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cookiecutter.main import cookiecutter

ROOT = Path(__file__).parent.parent
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"
CONTEXT = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
OPTIONS = [key for key in CONTEXT if not key.startswith("_")]
# Each option once with another value than its default.
CHANGED = {
    "project_name": "Tide Gauge",
    "project_slug": "tide-watch",
    "package_name": "gauge",
    "description": 'Says "tide" \\ or não, 潮 🌊.',
    "author_name": 'Zoë "Zed" O\'Neill \\ Søn',
    "author_email": "zoe@example.org",
    "port": "9001",
    "license": "Apache-2.0",
    "include_github_actions": False,
}
# Set by the shell or the test runner, and wrong inside a generated project.
FOREIGN = (
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
    "MAKEFLAGS",
    "MFLAGS",
    "MAKELEVEL",
)


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what belongs to the template's own tools."""
    kept = {k: v for k, v in os.environ.items() if k not in FOREIGN and "COOKIECUTTER" not in k}
    return kept | more


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def listed(*paths: str) -> list[str]:
    """The repository's files below these paths as git knows them, so without stray caches."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


@dataclass(frozen=True)
class Bake:
    """A generated project."""

    path: Path

    def files(self) -> set[str]:
        """Every file, relative to the project."""
        found = (file for file in self.path.rglob("*") if file.is_file())
        return {file.relative_to(self.path).as_posix() for file in found}

    def text(self, name: str) -> str:
        return (self.path / name).read_text(encoding="utf-8")

    def run(
        self, *command: object, check: bool = True, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the project."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.path,
            env=environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}"
        return done


def bake(output: Path, **answers: object) -> Bake:
    """Generate a project with these answers and the defaults for the rest."""
    path = cookiecutter(
        str(ROOT),
        no_input=True,
        extra_context=answers,
        output_dir=str(output),
        default_config=True,
    )
    return Bake(Path(path))


def install(project: Bake) -> None:
    """The project's .venv as `make install` lays it, but by uv and its shared cache."""
    uv, venv = Path(sys.executable).with_name("uv"), project.path / ".venv"
    project.run(uv, "venv", "--quiet", "--python", sys.executable, venv)
    pip = [uv, "pip", "install", "--quiet", "--python", venv / "bin/python"]
    project.run(*pip, "--require-hashes", "--requirement", "requirements/dev.txt")
    project.run(*pip, "--no-deps", "--no-build-isolation", "--editable", ".")
    (venv / "installed").touch()
