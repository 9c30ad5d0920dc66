"""The model folder: what is broken, missing, swapped or foreign is refused in one line."""

import importlib.metadata
import json
import pickle

import pytest
from project import ROOT, load

manifest, predictor = load("model.manifest"), load("model.predictor")


def refusal(folder):
    with pytest.raises(manifest.ModelError) as caught:
        predictor.load(folder).check_golden()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_the_shipped_model_proves_itself():
    assert predictor.load(ROOT / "models").check_golden() <= 1e-9


def test_missing_artifact(folder):
    (folder / "model.joblib").unlink()
    assert "model.joblib: No such file" in refusal(folder)


def test_missing_manifest(folder):
    (folder / "manifest.json").unlink()
    assert "run `make train`" in refusal(folder)


def test_broken_manifest(folder):
    (folder / "manifest.json").write_text('{"format": 1}')
    assert "missing required field" in refusal(folder)


def test_manifest_of_a_later_format(edit):
    assert "$.format" in refusal(edit(lambda m: m.update(format=2)))


@pytest.mark.parametrize("content", [b"", b"no joblib"])
def test_broken_artifact(folder, content):
    (folder / "model.joblib").write_bytes(content)
    assert "has sha256" in refusal(folder)


def test_a_swapped_artifact_is_never_unpickled(folder):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the foreign file was unpickled",))

    (folder / "model.joblib").write_bytes(pickle.dumps(Trap()))
    assert "has sha256" in refusal(folder)


def test_an_artifact_that_cannot_be_unpickled(folder, edit):
    import hashlib

    content = b"right digest, no pickle"
    (folder / "model.joblib").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    assert "cannot be unpickled" in refusal(edit(lambda m: m["artifact"].update(sha256=digest)))


def test_another_scikit_learn(edit):
    message = refusal(edit(lambda m: m["libraries"].update({"scikit-learn": "1.2.3"})))
    assert "scikit-learn 1.2.3" in message
    assert importlib.metadata.version("scikit-learn") in message


def test_a_patch_release_apart_is_let_through(edit):
    major, minor = importlib.metadata.version("scikit-learn").split(".")[:2]
    folder = edit(lambda m: m["libraries"].update({"scikit-learn": f"{major}.{minor}.999"}))
    assert predictor.load(folder).check_golden() <= 1e-9


@pytest.mark.parametrize(
    "alter",
    [
        lambda output: output.update(label="Dodo"),
        lambda output: output["probabilities"].update(
            {name: share + 1e-6 for name, share in output["probabilities"].items()}
        ),
        lambda output: output["flags"].append({"feature": "island", "flag": "unknown_category"}),
    ],
)
def test_a_golden_row_that_is_answered_otherwise(edit, alter):
    assert "golden row 2" in refusal(edit(lambda m: alter(m["golden"][2]["output"])))


@pytest.mark.parametrize("label", [13.1, 12, "13.0", None])
def test_a_golden_number_that_is_answered_otherwise(regression, edit, label):
    edit(lambda m: m["golden"][0]["output"].update(label=label))
    assert "golden row 0" in refusal(regression)


def test_a_golden_row_that_cannot_be_answered(edit):
    folder = edit(lambda m: m["golden"][3]["input"].update(island=7))
    assert "golden row 3 cannot be answered" in refusal(folder)


def test_the_artifact_was_trained_with_what_is_locked():
    """Fails when the lock moved and the model was not trained again: run `make train`."""
    trained = json.loads((ROOT / "models/manifest.json").read_text())["libraries"]
    lock = (ROOT / "requirements/runtime.txt").read_text()
    for name, version in trained.items():
        assert f"\n{name}=={version} " in lock, (
            f"{name} {version} is not in requirements/runtime.txt"
        )
