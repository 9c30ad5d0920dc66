"""What the fast engine cannot compute, or computes otherwise, scikit-learn answers."""

import pickle

import numpy as np
import pytest
from pipelines import CASES, PLAIN, SPARSE, dense, few, hist, onehot
from project import load
from sklearn import feature_selection as select
from sklearn import linear_model as linear
from sklearn import preprocessing as pre
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyRegressor
from sklearn.impute import SimpleImputer
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier
from table import NUMBERS, TABLE, TEXTS, fitted, perturbed, plan_of, same

compiled, proof, reference = (
    load(f"model.{n}") for n in ("compiled", "compiled.proof", "reference")
)
ModelError = load("model.manifest").ModelError
pytestmark = pytest.mark.filterwarnings("ignore")  # of scikit-learn, about made-up data


class Ours(pre.StandardScaler):
    """scikit-learn's, for all that the engine knows."""


UNKNOWN = "is no step that this engine knows"


@pytest.mark.parametrize(
    ("steps", "step", "why"),
    [
        ((dense(Ours()), linear.Ridge()), "test_proof.Ours", UNKNOWN),
        ((dense(pre.SplineTransformer()), linear.Ridge()), "SplineTransformer", UNKNOWN),
        ((DummyRegressor(),), "DummyRegressor", UNKNOWN),
        (
            (dense(pre.FunctionTransformer(lambda x: x + 1)), linear.Ridge()),
            "FunctionTransformer",
            "<lambda> is no NumPy function of one value",
        ),
        (
            (SPARSE, pre.StandardScaler(with_mean=False), linear.Ridge()),
            "StandardScaler",
            "takes a sparse matrix",
        ),
        (
            (clone(dense()).set_output(transform="pandas"), KNeighborsRegressor()),
            "KNeighborsRegressor",
            "takes a DataFrame",
        ),
    ],
)
def test_what_cannot_be_compiled_is_named_and_the_pipeline_serves(steps, step, why):
    model, batch = fitted("price", *steps), perturbed(100, seed=3)
    assert model.prove() == 0
    assert (model.engine.name, model.engine.step) == ("sklearn", step)
    assert f"{step}: {why}" in model.engine.reason
    same(model.reference.answer(batch), model.answer(batch))
    with pytest.raises(ModelError, match="ENGINE=compiled, but not compiled"):
        fitted("price", *steps, choice="compiled").prove()


def test_engine_sklearn_compiles_nothing(monkeypatch):
    monkeypatch.delattr(compiled, "compile_estimator")
    model = fitted(*CASES["shipped"], choice="sklearn")
    model.prove()
    assert model.engine.facts() == [
        ("engine", "sklearn: ENGINE=sklearn"),
        ("device", "cpu: no other was tried"),
    ]


def only(step, *names):
    return make_column_transformer((step, names))


LOGS = only(pre.FunctionTransformer(np.log), "depth")
BOX_COX = only(pre.PowerTransformer(method="box-cox"), "depth")
CUBES = dense(pre.PolynomialFeatures(3), pre.StandardScaler())
ZEROS = only(SimpleImputer(missing_values=0), "adult", "depth")
WIDE = only(pre.MinMaxScaler((0, 1000)), "depth")
STRICT = dense(texts=onehot(handle_unknown="error"))
PAIR = only("passthrough", "adult", "depth")


@pytest.mark.parametrize(
    ("steps", "feature", "value", "error"),
    [
        ((STRICT, hist()), "site", "elsewhere", "unknown categories"),
        ((PAIR, linear.LogisticRegression()), "adult", np.nan, "contains NaN"),
        ((ZEROS, hist()), "adult", np.nan, "contains NaN"),
        ((PAIR, select.SelectKBest(k=1), hist()), "adult", np.nan, "contains NaN"),
        ((BOX_COX, hist()), "depth", -1.0, "strictly positive"),
        ((CUBES, hist()), "depth", 1e150, "infinity"),
        ((WIDE, linear.LogisticRegression()), "depth", 1e308, "infinity"),
        ((PAIR, DecisionTreeClassifier()), "depth", 1e39, "infinity"),
        ((LOGS, few("RandomForestClassifier")), "depth", 0.0, "infinity"),
        ((LOGS, hist()), "depth", 0.0, None),
    ],
)
def test_rows_on_which_the_pipeline_may_raise_are_left_to_it(steps, feature, value, error):
    model = fitted("species", *steps)
    plan, good = plan_of(model), proof.rows_of(TABLE, [*range(50)])
    odd = proof.rows_of(TABLE, [*range(50)])
    if feature in NUMBERS:
        odd.numbers[7, NUMBERS.index(feature)] = value
    else:
        odd.texts[TEXTS.index(feature)][7] = value
    model.prove()
    assert model.engine.name == "compiled"
    same(model.reference.answer(good), plan.predict(good))
    with pytest.raises(compiled.Unsure):
        plan.predict(odd)
    if error:
        with pytest.raises(ValueError, match=error):
            model.answer(odd)
    else:
        same(model.reference.answer(odd), model.answer(odd))


def change_scaler(estimator):
    estimator[0].named_transformers_["n"][-1].mean_[0] += 1e-9


def change_statistic(estimator):
    estimator[0].named_transformers_["n"][0].statistics_[0] += 1e-9


def change_categories(estimator):
    known = estimator[0].named_transformers_["t"].categories_[1]
    known[[0, 1]] = known[[1, 0]]


def change_encoding(estimator):
    estimator[0].named_transformers_["targetencoder"].encodings_[1][2] += 1e-9


def change_weight(estimator):
    estimator[-1].coef_[0, -1] += 1e-9


def change_classes(estimator):
    estimator[-1].classes_[[0, 1]] = estimator[-1].classes_[[1, 0]]


def change_leaf(estimator):
    nodes = estimator[-1]._predictors[-1][1].nodes
    nodes["value"][np.flatnonzero(nodes["is_leaf"])[1]] += 1e-9


def change_missing(estimator):
    nodes = estimator[-1]._predictors[0][0].nodes
    nodes["missing_go_to_left"][0] ^= 1


def change_threshold(estimator):
    nodes = estimator[-1]._predictors[0][0].nodes
    nodes["num_threshold"][0] = np.nextafter(nodes["num_threshold"][0], np.inf)


def change_single_threshold(estimator):
    grown = estimator[-1].tree_
    node = grown.feature.tolist().index(0)
    grown.threshold[node] = np.nextafter(np.float32(grown.threshold[node]), np.float32(np.inf))


@pytest.mark.parametrize(
    ("steps", "change"),
    [
        (CASES["shipped"][1:], change_scaler),
        (CASES["logistic"][1:], change_scaler),
        (CASES["logistic"][1:], change_statistic),
        (CASES["logistic"][1:], change_categories),
        (CASES["logistic"][1:], change_weight),
        (CASES["logistic"][1:], change_classes),
        (CASES["target encoder"][1:], change_encoding),
        ((PLAIN, hist()), change_leaf),
        ((PLAIN, hist()), change_missing),
        ((PLAIN, hist()), change_threshold),
        ((PLAIN, DecisionTreeClassifier(random_state=0)), change_single_threshold),
    ],
)
def test_the_proof_finds_one_wrong_number(steps, change, monkeypatch):
    model, batch = fitted("species", *steps), perturbed(100, seed=4)
    broken = pickle.loads(pickle.dumps(model.reference.estimator))
    change(broken)
    plan = compiled.compile_estimator(reference.Reference(lambda: broken), model.manifest)
    monkeypatch.setattr(compiled, "compile_estimator", lambda *_: plan)
    model = type(model)(model.manifest, model.reference)
    model.prove()
    assert model.engine.name == "sklearn"
    assert "of the proof" in model.engine.reason
    same(model.reference.answer(batch), model.answer(batch))
    with pytest.raises(ModelError, match=r"of the proof.*; ENGINE=auto would serve"):
        type(model)(model.manifest, model.reference, "compiled").prove()


@pytest.mark.parametrize("name", ["shipped", "tree"])
def test_the_proof_has_both_neighbours_of_each_threshold_behind_a_scaler(name):
    model = fitted(*CASES[name])
    plan = plan_of(model)
    cuts, prepare = plan.ties
    rows = proof.proof_rows(model.schema, model.manifest, plan)
    seen, equal = prepare(plan.matrix(rows)), 0
    for column in range(3):  # the numbers; no integer or boolean is next to a threshold
        raw, compared = rows.numbers[:, column], seen[:, column]
        for cut in cuts[column][np.isfinite(cuts[column])]:
            below, above = np.nanmax(raw[compared <= cut]), np.nanmin(raw[compared > cut])
            assert np.nextafter(below, np.inf) == above
            equal += (compared == cut).any()
    assert equal > 10
