"""Where the project lies and what its package is called, for the tests."""

import importlib
import os
import shutil
import socket
import sys
import tomllib
from pathlib import Path
from types import ModuleType

from click.testing import CliRunner

# As the command line does, and before scikit-learn is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent.parent
PACKAGE: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["flit"][
    "module"
]["name"]
COMMAND = shutil.which("model-service", path=str(Path(sys.executable).parent)) or "model-service"


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def load(name: str) -> ModuleType:
    """A module of the package by its name within it: the tests hold the package's name nowhere."""
    return importlib.import_module(f"{PACKAGE}.{name}")


def run(*arguments, **environment):
    """Run a command of the project in this process: exit code, and all that it printed."""
    done = CliRunner().invoke(load("cli").main, [str(a) for a in arguments], env=environment)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output
