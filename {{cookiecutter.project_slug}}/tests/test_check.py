"""`check`: what it finds, and what it refuses."""

import pytest
from project import load, run

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


@pytest.mark.skipif(not load("model.predictor").FAST_ENGINES, reason="the room was removed")
def test_check_asks_scikit_learn_itself(monkeypatch):
    """A plan may equal what was recorded, and still not what this installation computes."""
    code, output = run("check")
    assert code == 0
    assert "compiled: equal to what scikit-learn's pipeline answered in training" in output
    assert "compared here" in output
    answer = load("model.reference").Reference.answer

    def other(self, batch):
        labels, shares = answer(self, batch)
        return labels, shares * (1 + 1e-11)

    monkeypatch.setattr(load("model.reference").Reference, "answer", other)
    code, output = run("check")
    assert code == 1
    assert "the compiled engine is off: a number of the proof differs by 1e-11" in output
