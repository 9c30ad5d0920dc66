"""Lay what is measured: a generated project, environments with equal versions, trained models."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cookiecutter.main import cookiecutter

HERE = Path(__file__).resolve().parent
UV = Path(sys.executable).with_name("uv")
# Packages of the peers that are measured by name alone. Each has an environment of its own,
# because they do not agree with one another; NumPy and scikit-learn are the project's there too.
OPTIONAL = {
    "litserve": ["litserve"],
    "bentoml": ["bentoml"],
    # Without a bound it does not start: uvloop 0.23 left out what MLServer 1.7 calls.
    "mlserver": ["mlserver", "uvloop <0.22"],
    # Earlier ones refuse pandas 3.
    "mlflow": ["mlflow >=3.16"],
}
LIBRARIES = ["scikit-learn", "numpy", "pandas", "joblib"]
SHOWN = [*LIBRARIES, "flask", "gunicorn", "msgspec", "fastapi", "uvicorn", "uvloop", "httptools"]
# Set by the shell or by make, and wrong in another environment.
FOREIGN = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "MAKEFLAGS", "MAKELEVEL")


@dataclass(frozen=True)
class Place:
    """Where everything lies."""

    build: Path

    @property
    def project(self) -> Path:
        return self.build / "penguin-service"

    @property
    def home(self) -> Path:
        """The home folder of all targets; some write into it."""
        return self.build / "home"

    @property
    def logs(self) -> Path:
        return self.build / "logs"

    def model(self, name: str) -> Path:
        return self.build / "models" / name

    def bodies(self, target: str, load: str) -> Path:
        return self.build / "bodies" / f"{target}-{load}.txt"

    def bin(self, target: str) -> Path:
        """The folder of the commands of a target's environment."""
        return self.build / (target if target in OPTIONAL else "venv") / "bin"


def call(*command: object, cwd: Path | None = None) -> str:
    """Run a command that must succeed; its output."""
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    words = [str(word) for word in command]
    return subprocess.run(
        words, cwd=cwd, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def project(template: Path, place: Place) -> None:
    """Generate the default project anew, beside empty folders for what is sent and written."""
    shutil.rmtree(place.project, ignore_errors=True)
    for folder in (place.logs, place.home, place.build / "bodies"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    answers = {"no_input": True, "default_config": True, "output_dir": str(place.build)}
    cookiecutter(str(template), **answers)


def environments(place: Place, targets: list[str]) -> None:
    """One environment with the project and its peers, and one for each optional peer."""
    locks, pip = place.project / "requirements", (UV, "pip", "--quiet")
    python = environment(place, "service")
    files = (locks / "train.txt", locks / "build.txt", HERE / "requirements.txt")
    call(*pip, "sync", *python, "--require-hashes", *files)
    flags = ("--no-deps", "--no-build-isolation", "--editable")
    call(*pip, "install", *python, *flags, place.project)
    installed = packages(place, "service")
    equal = [f"{name}=={installed[name]}" for name in LIBRARIES]
    for target in targets:
        if target in OPTIONAL:
            call(*pip, "install", *environment(place, target), *OPTIONAL[target], *equal)


def environment(place: Place, target: str) -> tuple[object, ...]:
    """Make a target's environment if there is none; the arguments that name it to uv."""
    folder = place.bin(target).parent
    call(UV, "venv", "--quiet", "--allow-existing", "--python", sys.executable, folder)
    return "--python", folder / "bin/python"


def packages(place: Place, target: str) -> dict[str, str]:
    """The installed packages of a target's environment, with their versions."""
    listed = (UV, "pip", "list", "--quiet", "--format", "json")
    found = json.loads(call(*listed, "--python", place.bin(target) / "python"))
    return {package["name"]: package["version"] for package in found}


def model(place: Place, name: str) -> None:
    """Train a model anew."""
    shutil.rmtree(place.model(name), ignore_errors=True)
    script = (HERE / "models.py", name, place.model(name))
    call(place.bin("service") / "python", *script, cwd=place.project)


def versions(place: Place, targets: list[str]) -> dict[str, str]:
    """Versions that matter: of the libraries, the servers and the optional peers."""
    installed = packages(place, "service")
    own = {name: packages(place, name)[name] for name in targets if name in OPTIONAL}
    return {name: installed[name] for name in SHOWN} | own
