"""Pipelines that together have every step and final which the fast engine knows."""

import numpy as np
from sklearn import ensemble, naive_bayes, neighbors, svm, tree
from sklearn import feature_selection as select
from sklearn import linear_model as linear
from sklearn import preprocessing as pre
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis as Discriminant
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from table import KINDS, NUMBERS, TEXTS


def filled(*steps, strategy="mean"):
    """Steps for numbers, after their imputation."""
    return make_pipeline(SimpleImputer(strategy=strategy), *steps)


def onehot(**options):
    return pre.OneHotEncoder(**{"handle_unknown": "ignore", "sparse_output": False, **options})


def ordinal(value=-1, **options):
    options |= {"handle_unknown": "use_encoded_value", "unknown_value": value}
    return pre.OrdinalEncoder(encoded_missing_value=-2, **options)


def both(numbers, texts, **options):
    """A transformer for the numbers beside one for the texts."""
    return ColumnTransformer([("n", numbers, NUMBERS), ("t", texts, TEXTS)], **options)


def hist(kind="Classifier", **options):
    options = {"max_iter": 20, "random_state": 0, **options}
    return getattr(ensemble, f"HistGradientBoosting{kind}")(**options)


def few(kind, **options):
    """An ensemble of few trees."""
    return getattr(ensemble, kind)(n_estimators=20, random_state=0, **options)


def sgd(**options):
    return linear.SGDClassifier(random_state=0, **options)


def dense(*steps, texts=None):
    """Numbers through the steps, beside categories in columns of their own."""
    return both(filled(*steps), texts or onehot())


SCALED = filled(pre.StandardScaler())  # cloned by what holds it
DENSE, CODED, PLAIN = (
    both(SCALED, onehot()),
    both(SCALED, ordinal()),
    both("passthrough", ordinal()),
)
SPARSE = both(SCALED, onehot(sparse_output=True), sparse_threshold=1.0)
NULLS = both(pre.StandardScaler(), ordinal(np.nan))
RARE = onehot(handle_unknown="infrequent_if_exist", min_frequency=0.05, drop="first")
GIVEN = [["elsewhere", "Biscoe", "Dream", "Torgersen"], [f"s{i}" for i in range(9)]]
MOST = onehot(max_categories=4, handle_unknown="warn", dtype=np.float32)
CST = [1, -1, *[0] * 7]
CUBES = [pre.StandardScaler(), pre.PolynomialFeatures(3)]
TARGET = make_column_transformer((pre.TargetEncoder(), ["rank", *TEXTS]), (SCALED, [0]))
CONSTANT = make_column_transformer((pre.FunctionTransformer(np.isnan), ["depth"]))
INDICATED = {"strategy": "constant", "add_indicator": True}
MASK = [name in ("rank", "wild", *TEXTS) for name in KINDS]
INNER = make_column_transformer((SCALED, slice(0, 2)), (filled(), [False, False, True]))
FRAMES = make_column_transformer(
    (pre.MinMaxScaler(), slice("n__depth", "n__wild")), remainder=SCALED
)
BINS = [pre.KBinsDiscretizer(4, encode=e, strategy="uniform") for e in ("ordinal", "onehot-dense")]
SPLIT = make_column_transformer(
    (pre.KBinsDiscretizer(3, strategy="kmeans"), ["depth"]), (onehot(sparse_output=True), TEXTS)
)
NORMS = [pre.Normalizer(norm) for norm in ("l1", "l2", "max")]
SHAPES = ("uniform", "normal")
QUANTILES = [pre.QuantileTransformer(n_quantiles=50, output_distribution=s) for s in SHAPES]
WEIGHED = both(
    filled(pre.FunctionTransformer(np.arcsinh)), onehot(), transformer_weights={"n": 2.5}
)
ROOTS = make_column_transformer(
    (pre.FunctionTransformer(np.sqrt), ["depth"]), ("passthrough", ["rank"])
)
UNION = [("a", both(SCALED, "drop")), ("b", WEIGHED), ("c", ROOTS), ("d", "drop")]
OFTEN = {"strategy": "most_frequent"}
MARKED = filled(SimpleImputer(missing_values="s3", **OFTEN), onehot(), **OFTEN)
# Each: target and steps.
CASES = {
    "shipped": ("species", both(filled(pre.StandardScaler(), strategy="median"), onehot()), hist()),
    "hist, categories by name": ("species", hist(categorical_features=TEXTS)),
    "hist, numbers as categories": ("big", hist(categorical_features=MASK)),
    "hist, codes as categories": ("species", CODED, hist(categorical_features=[4, 7, 8])),
    "hist, Poisson": ("young", NULLS, hist("Regressor", loss="poisson", max_leaf_nodes=60)),
    "hist, Gamma": ("share", NULLS, hist("Regressor", loss="gamma", monotonic_cst=CST)),
    "hist, large": ("size", DENSE, hist(max_leaf_nodes=None, min_samples_leaf=1, max_iter=5)),
    "hist, two as likely": ("even", CONSTANT, hist()),
    "boosting, two as likely": ("even", CONSTANT, few("GradientBoostingClassifier")),
    "logistic, two as likely": ("even", CONSTANT, linear.LogisticRegression()),
    "categories given": (
        "sex",
        dense(texts=ordinal(categories=GIVEN)),
        linear.LogisticRegression(),
    ),
    "logistic": ("species", DENSE, linear.LogisticRegression()),
    "logistic, sparse": ("species", SPARSE, linear.LogisticRegression()),
    "logistic, dropped": ("sex", dense(texts=onehot(drop="first")), linear.LogisticRegression()),
    "liblinear, numbers as categories": (
        "big",
        make_column_transformer((onehot(drop="if_binary"), ["wild", "rank", "adult", *TEXTS])),
        linear.LogisticRegression(solver="liblinear"),
    ),
    "infrequent": ("price", dense(pre.MinMaxScaler((-1, 2)), texts=RARE), linear.Ridge()),
    "at most": ("price", dense(pre.MinMaxScaler(clip=True), texts=MOST), linear.LinearRegression()),
    "SGD": ("species", dense(pre.RobustScaler()), sgd(loss="log_loss")),
    "SGD, hinge": ("size", dense(pre.RobustScaler(with_centering=False)), sgd()),
    "SGD, its own": ("species", SPARSE, sgd(loss="modified_huber")),
    "LDA": ("species", dense(pre.MaxAbsScaler(clip=True), texts=ordinal()), Discriminant()),
    "LDA, binary": ("sex", dense(pre.MaxAbsScaler()), Discriminant(solver="eigen", shrinkage=0.1)),
    "Bayes": ("size", dense(pre.PowerTransformer(), texts=ordinal()), naive_bayes.GaussianNB()),
    "box-cox": (
        "price",
        make_column_transformer((pre.PowerTransformer(method="box-cox"), ["depth"])),
        linear.HuberRegressor(),
    ),
    "quantiles": ("species", make_union(*(both(q, ordinal()) for q in QUANTILES)), hist()),
    "bins": ("species", dense(make_union(*BINS)), linear.RidgeClassifier()),
    "bins, sparse": ("species", SPLIT, linear.Perceptron()),
    "polynomial": ("price", dense(*CUBES), linear.Lasso(tol=0.1)),
    "interactions": (
        "species",
        dense(pre.StandardScaler(), pre.PolynomialFeatures(interaction_only=True)),
        PCA(12, whiten=True),
        select.SelectKBest(k=8),
        linear.LogisticRegression(),
    ),
    "norms": (
        "price",
        make_column_transformer(
            (filled(make_union(*NORMS)), NUMBERS),
            (pre.Normalizer(), ["depth", "rank"]),
        ),
        PCA(10),
        linear.Ridge(),
    ),
    "selectors": (
        "species",
        dense(select.VarianceThreshold(0.1), pre.StandardScaler(), select.SelectPercentile()),
        select.SelectFromModel(tree.DecisionTreeClassifier(max_depth=4, random_state=0)),
        select.RFE(linear.LogisticRegression(), n_features_to_select=2),
        linear.Perceptron(),
    ),
    "tree": ("species", NULLS, tree.DecisionTreeClassifier(random_state=0)),
    "deep tree": ("price", PLAIN, tree.DecisionTreeRegressor(random_state=0)),
    "random tree": ("big", DENSE, tree.ExtraTreeClassifier(random_state=0)),
    "forest": ("species", DENSE, few("RandomForestClassifier", max_leaf_nodes=30)),
    "deep forest": ("price", NULLS, few("RandomForestRegressor")),
    "extra trees": ("sex", PLAIN, few("ExtraTreesClassifier")),
    "extra trees, sparse": ("price", SPARSE, few("ExtraTreesRegressor", max_depth=5)),
    "boosting": ("species", DENSE, few("GradientBoostingClassifier")),
    "boosting, exponential": ("sex", CODED, few("GradientBoostingClassifier", loss="exponential")),
    "boosting, zero": ("price", CODED, few("GradientBoostingRegressor", loss="huber", init="zero")),
    "target encoder": ("species", TARGET, linear.LogisticRegression()),
    "target encoder, binary": ("sex", TARGET, linear.LogisticRegression()),
    "target encoder, numbers": ("price", TARGET, linear.Ridge()),
    "numbers as categories": (
        "size",
        make_column_transformer(
            (onehot(), ["rank", "count", "wild"]),
            (ordinal(np.nan), ["count", "adult", "wild", "island"]),
        ),
        hist(),
    ),
    "columns by all ways": (
        "species",
        make_column_transformer(
            (INNER, ["length", "mass", "count"]),
            (onehot(), make_column_selector(dtype_include=object)),
            (SCALED, slice("wild", "adult")),
            ("drop", [3]),
            (filled(), [-5]),
            (SCALED, [name == "depth" for name in KINDS]),
            remainder="passthrough",
        ),
        linear.LogisticRegression(),
    ),
    "frames": (
        "species",
        clone(DENSE).set_output(transform="pandas"),
        clone(FRAMES).set_output(transform="pandas"),
        linear.LogisticRegression(),
    ),
    "weights and functions": (
        "price",
        FeatureUnion(UNION, transformer_weights={"a": 0.3}),
        pre.FunctionTransformer(),
        linear.BayesianRidge(),
    ),
    "constants": (
        "species",
        both(
            make_pipeline(SimpleImputer(fill_value=-1, **INDICATED), pre.StandardScaler()),
            make_pipeline(SimpleImputer(fill_value="none", **INDICATED), onehot()),
        ),
        svm.LinearSVC(),
    ),
    "marked": (
        "price",
        both(filled(SimpleImputer(missing_values=0, add_indicator=True), **OFTEN), MARKED),
        svm.LinearSVR(),
    ),
    "neighbours": ("species", DENSE, neighbors.KNeighborsClassifier()),
    "support vectors": ("sex", DENSE, svm.SVC()),
    "Tweedie": ("young", DENSE, linear.TweedieRegressor(power=1.5)),
    "a pipeline as final": (
        "species",
        DENSE,
        make_pipeline(pre.MinMaxScaler(), linear.RidgeClassifierCV()),
    ),
}
