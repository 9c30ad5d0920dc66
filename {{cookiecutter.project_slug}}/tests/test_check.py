"""`check`: what it finds, and what it refuses."""

import pytest
from project import run

pytestmark = pytest.mark.usefixtures("in_the_project")


def test_check_says_what_it_found_and_fails_on_a_broken_model(edit):
    code, output = run("check")
    assert code == 0
    assert "golden rows" in output
    assert "largest difference 0" in output
    broken = edit(lambda m: m["golden"][0]["output"].update(label="Dodo"))
    code, output = run("check", "--models", broken)
    assert code == 1
    assert "golden row 0" in output
