"""The command line itself, and `serve` where it cannot start."""

import os
import subprocess
import sys

import pytest
from project import COMMAND, PACKAGE, load, run

pytestmark = pytest.mark.usefixtures("in_the_project")


def test_help_lists_every_command():
    code, output = run("--help")
    assert code == 0
    for name in load("cli").COMMANDS:
        assert f"  {name} " in output


def test_the_installed_command_is_this_one():
    done = subprocess.run([COMMAND, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Train, serve, check and use the model" in done.stdout


@pytest.mark.parametrize("name", [name for name in load("cli").COMMANDS if name != "serve"])
def test_a_command_loads_scikit_learn_with_one_thread(name):
    code = (
        f"import sys; sys.argv = ['x', '{name}', '--help']\n"
        f"from {PACKAGE}.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "import sklearn.ensemble\n"
        "from threadpoolctl import threadpool_info as info\n"
        "print([pool['num_threads'] for pool in info() if pool['user_api'] == 'openmp'])"
    )
    given = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[1]", done.stdout + done.stderr


def test_serve_outside_the_project_says_where_to_go(tmp_path):
    done = subprocess.run([COMMAND, "serve"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "run this in the project's folder" in done.stderr


def test_serve_refuses_a_wrong_number_of_workers():
    code, output = run("serve", WEB_CONCURRENCY="two")
    assert code == 1
    assert "WEB_CONCURRENCY='two'" in output
