"""The fast engine answers as scikit-learn does, whatever pipeline and rows hypothesis thinks of."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from pipelines import (
    BINS,
    CODED,
    MOST,
    NORMS,
    OFTEN,
    QUANTILES,
    RARE,
    Discriminant,
    few,
    hist,
    onehot,
    ordinal,
    sgd,
)
from project import ROOT, load
from sklearn import feature_selection as select
from sklearn import linear_model as linear
from sklearn import naive_bayes, neighbors, tree
from sklearn import preprocessing as pre
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from table import KINDS, NULLABLE, NUMBERS, SCHEMA, TEXTS, fitted, perturbed, plan_of, same

batches, compiled = load("model.batch"), load("model.compiled")
pytestmark = pytest.mark.filterwarnings("ignore")  # of scikit-learn, about made-up data
# It keeps more than the examples, which `database` is about.
hypothesis.configuration.set_hypothesis_home_dir(ROOT / ".pytest_cache/hypothesis")


def variances(x, y):
    return x.var(axis=0)


TAKING_NULLS = [
    pre.StandardScaler(),
    pre.StandardScaler(with_mean=False),
    pre.RobustScaler(quantile_range=(10, 90)),
    pre.MinMaxScaler(clip=True),
    pre.MaxAbsScaler(),
    pre.PowerTransformer(),
    *QUANTILES,
    pre.FunctionTransformer(np.arctan),
    pre.FunctionTransformer(),
    select.VarianceThreshold(),
    "passthrough",
]
REFUSING_NULLS = [*BINS, *NORMS, pre.PolynomialFeatures(2), PCA(1), PCA(0.9, whiten=True)]
REFUSING_NULLS += [select.SelectKBest(variances, k=1)]
IMPUTERS = [SimpleImputer(strategy=s) for s in ("mean", "median", "most_frequent", "constant")]
IMPUTERS += [SimpleImputer(add_indicator=True)]
ENCODERS = [onehot(), onehot(drop="first"), onehot(drop="if_binary"), RARE, MOST, ordinal()]
ENCODERS += [make_pipeline(SimpleImputer(**OFTEN), onehot()), pre.TargetEncoder()]
FINALS = {
    "species": [linear.LogisticRegression(), naive_bayes.GaussianNB(), hist(max_iter=5)],
    "sex": [linear.LogisticRegression(), Discriminant(), few("GradientBoostingClassifier")],
    "size": [sgd(loss="log_loss"), few("RandomForestClassifier"), neighbors.KNeighborsClassifier()],
    "big": [tree.DecisionTreeClassifier(), few("ExtraTreesClassifier"), hist(max_iter=5)],
    "price": [linear.Ridge(), linear.Lasso(), few("RandomForestRegressor"), hist("Regressor")],
    "young": [linear.PoissonRegressor(), hist("Regressor", loss="poisson")],
}
TREES = ("Hist", "DecisionTree", "RandomForest", "ExtraTrees")  # they take nulls


@st.composite
def steps(draw):
    """A target, and the steps of a pipeline: columns in parts, what follows them, and a final."""
    target = draw(st.sampled_from(list(FINALS)))
    final = draw(st.sampled_from(FINALS[target]))
    nulls = type(final).__name__.startswith(TREES) and draw(st.booleans())
    known = st.sampled_from(TAKING_NULLS + REFUSING_NULLS * (not nulls))

    def chain():
        first = [] if nulls else [draw(st.sampled_from(IMPUTERS))]
        return make_pipeline(*first, *draw(st.lists(known, min_size=nulls, max_size=2)))

    names, parts = draw(st.permutations(NUMBERS)), [(draw(st.sampled_from(ENCODERS)), TEXTS)]
    while names:
        count = draw(st.integers(1, len(names)))
        chosen, names = names[:count], names[count:]
        places = [list(KINDS).index(name) for name in chosen]
        mask = [name in chosen for name in KINDS]
        pattern = make_column_selector(f"^({'|'.join(chosen)})$")
        parts.append((chain(), draw(st.sampled_from([chosen, places, mask, pattern]))))
    rest = draw(st.sampled_from(["drop", parts.pop()[0]])) if len(parts) > 2 else "drop"
    columns = make_column_transformer(*draw(st.permutations(parts)), remainder=rest)
    way = draw(st.integers(0, 2))
    if way == 0 and target != "size":  # scikit-learn's own final would want a frame
        columns = clone(columns).set_output(transform="pandas")
    elif way == 1:
        columns = FeatureUnion([("a", columns), ("b", CODED)], transformer_weights={"b": 0.5})
    after = [] if nulls else draw(st.lists(known, max_size=1))
    return target, columns, *after, final


VALUES = {"number": st.floats(-1e12, 1e12), "integer": st.integers(-(2**40), 2**40)}
VALUES |= {"boolean": st.booleans(), "category": st.sampled_from(["Dream", "s1"]) | st.text()}
ROW = {n: VALUES[k] | st.none() if n in NULLABLE else VALUES[k] for n, k in KINDS.items()}
# The same examples in each run, and nothing written beside the tests.
bounded = {"derandomize": True, "deadline": None, "database": None}
bounded |= {"suppress_health_check": list(hypothesis.HealthCheck)}


def check(model, batch):
    """The plan of any pipeline of known steps answers what the pipeline answers."""
    plan = plan_of(model)
    try:
        expected = model.reference.answer(batch)
    except ValueError:
        with pytest.raises(compiled.Unsure):
            plan.predict(batch)
    else:
        same(expected, plan.predict(batch))


def model_of(built):
    try:
        return fitted(*built)
    except ValueError:  # no column has any variance, or the like
        hypothesis.reject()


@hypothesis.settings(max_examples=25, **bounded)
@hypothesis.given(steps(), st.integers(0, 1000))
def test_any_pipeline_on_100_000_rows(built, seed):
    check(model_of(built), perturbed(100_000, seed))


@hypothesis.settings(max_examples=80, **bounded)
@hypothesis.given(steps(), st.lists(st.fixed_dictionaries(ROW), max_size=3), st.integers(0, 9))
def test_any_pipeline_on_any_rows(built, rows, others):
    hypothesis.assume(rows or others)
    parts = [SCHEMA.read(rows), perturbed(others, seed=others)]
    check(model_of(built), batches.Batch.joined(parts))
