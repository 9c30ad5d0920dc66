"""The environment of other servers' clients, `.venv/clients`, and scripts that run in it."""

import os
import subprocess
import sys
from pathlib import Path

from project import ROOT

HERE = Path(__file__).parent / "clients"


def environment() -> Path:
    """The environment's interpreter; it is made anew where its lock changed."""
    lock, folder = ROOT / "requirements/clients.txt", ROOT / ".venv/clients"
    done = folder / "lock.txt"
    if not done.exists() or done.read_bytes() != lock.read_bytes():
        uv = [Path(sys.executable).with_name("uv")]
        pip = ["pip", "install", "--quiet", "--python", folder / "bin/python"]
        venv = ["venv", "--quiet", "--clear", "--python", sys.executable, folder]
        subprocess.run([*uv, *venv], check=True)
        subprocess.run([*uv, *pip, "--require-hashes", "--requirement", lock], check=True)
        done.write_bytes(lock.read_bytes())
    return folder / "bin/python"


def run(python: Path, script: str, *arguments: object) -> str:
    """What a script of `clients/` prints; fails with that if the script does."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, HERE / script, *map(str, arguments)],
        env=kept,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
