"""The fast engine answers as scikit-learn does."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pipelines import CASES, DENSE
from project import load
from sklearn import discriminant_analysis, naive_bayes, svm
from sklearn import linear_model as linear
from table import fitted, perturbed, plan_of, same

batches, proof = load("model.batch"), load("model.compiled.proof")
linears = load("model.compiled.linear")
pytestmark = pytest.mark.filterwarnings("ignore")  # of scikit-learn, about made-up data
ROWS = 100_000
OWN = ("SGD, its own", "neighbours", "support vectors")  # scikit-learn's own finals


@pytest.fixture(scope="module")
def many():
    return perturbed(ROWS, seed=1)


def tied(model, plan):
    """Rows on both sides of the trees' thresholds, as the proof finds them behind other steps."""
    parts = []
    for at, values in proof.ties(model.schema, plan).items():
        parts.append(perturbed(len(values), seed=at))
        parts[-1].numbers[:, at] = values
    return parts


@pytest.mark.parametrize("name", CASES)
def test_100_000_rows_are_answered_as_by_the_pipeline(name, many):
    model = fitted(*CASES[name])
    plan = plan_of(model)
    assert plan.steps[-1].endswith("(compiled)") != (name in OWN)
    # A sum of trees that passes no exponential is the same in any shape, on any machine.
    most = 0.0 if plan.ties and CASES[name][0] == "price" else 1e-12
    batch = batches.Batch.joined([many, *tied(model, plan)])
    same(model.reference.answer(batch), plan.predict(batch), most)
    # Each row alone, by the plan as it is stored.
    plan, some = pickle.loads(pickle.dumps(plan)), proof.rows_of(many, [*range(40)])
    alone = [plan.predict(proof.rows_of(some, [i])) for i in range(40)]
    rows = [None if part[0] is None else np.concatenate(part) for part in zip(*alone, strict=True)]
    same(plan.predict(some), rows, most)
    assert model.compare().fault is None


@pytest.mark.parametrize(("name", "ours"), [("deep forest", True), ("hist, large", False)])
def test_trees_of_more_leaves_than_bits(name, ours, monkeypatch):
    monkeypatch.setattr(load("model.compiled.bits"), "WORDS", 1)
    model, batch = fitted(*CASES[name]), perturbed(2000, seed=2)
    plan = plan_of(model)
    assert plan.steps[-1].endswith("(compiled)") == ours
    same(model.reference.answer(batch), plan.predict(batch))


@pytest.mark.parametrize("name", linears.FINALS)
def test_every_linear_final(name):
    kinds = {**vars(linear), **vars(svm), **vars(naive_bayes), **vars(discriminant_analysis)}
    target = "share" if name in linears.REGRESSORS else "species"
    model = fitted(target, DENSE, kinds[name]())
    plan, batch = plan_of(model), perturbed(2000, seed=2)
    assert plan.steps[-1] == f"{name} (compiled)"
    same(model.reference.answer(batch), plan.predict(batch))


def test_a_row_of_no_likely_class(many):
    model, some = fitted(*CASES["SGD"]), proof.rows_of(many, [*range(40)])
    model.reference.estimator[-1].intercept_ -= 1e4
    same(model.reference.answer(some), plan_of(model).predict(some))


def test_threads_share_a_plan(many):
    plans = [plan_of(fitted(*CASES[name])) for name in ("shipped", "bins", "forest", "logistic")]
    parts = [proof.rows_of(many, [*range(i, i + 1 + i % 7)]) for i in range(32)]
    expected = [[plan.predict(part) for plan in plans] for part in parts]

    def ask(i):
        for _ in range(25):
            for plan, answer in zip(plans, expected[i], strict=True):
                same(answer, plan.predict(parts[i]))

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(ask, range(32)))
