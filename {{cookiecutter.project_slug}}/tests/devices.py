"""Pipelines whose last steps a GPU takes, by those steps' names: forests, and linear models."""

from pipelines import CASES, DENSE, PLAIN, SCALED, both, dense, few, filled, hist, onehot
from sklearn import linear_model as linear
from sklearn import preprocessing as pre
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.naive_bayes import GaussianNB

FORESTS = {
    "RandomForestClassifier": ("species", DENSE, few("RandomForestClassifier")),
    "RandomForestClassifier, two classes, nulls": ("sex", PLAIN, few("RandomForestClassifier")),
    "RandomForestRegressor, nulls": CASES["deep forest"],
    "ExtraTreesClassifier, nulls": CASES["extra trees"],
    "ExtraTreesRegressor": CASES["extra trees, sparse"],
    "GradientBoostingClassifier": CASES["boosting"],
    "GradientBoostingClassifier, two classes": ("big", DENSE, few("GradientBoostingClassifier")),
    "GradientBoostingClassifier, as likely": CASES["boosting, two as likely"],
    "GradientBoostingRegressor": CASES["boosting, zero"],
    "HistGradientBoostingClassifier": CASES["shipped"],
    "HistGradientBoostingClassifier, categories": CASES["hist, categories by name"],
    "HistGradientBoostingClassifier, two classes": CASES["hist, numbers as categories"],
    "HistGradientBoostingClassifier, as likely": CASES["hist, two as likely"],
    "HistGradientBoostingRegressor": ("price", DENSE, hist("Regressor")),
    "HistGradientBoostingRegressor, Poisson": CASES["hist, Poisson"],
    "HistGradientBoostingRegressor, Gamma": CASES["hist, Gamma"],
}
ONES = both(filled(), onehot())
LINEAR = {
    "LogisticRegression": ("species", ONES, pre.StandardScaler(), linear.LogisticRegression()),
    "two classes": ("sex", ONES, pre.MinMaxScaler(), PCA(5), linear.LogisticRegression()),
    "LinearRegression": ("price", ONES, pre.StandardScaler(), PCA(4), linear.LinearRegression()),
    "Ridge": ("price", ONES, pre.Normalizer(), linear.Ridge()),
    "Lasso": ("price", ONES, pre.StandardScaler(), pre.PolynomialFeatures(2), linear.Lasso()),
    "PoissonRegressor": ("young", ONES, pre.StandardScaler(), linear.PoissonRegressor()),
    "LinearDiscriminantAnalysis": (
        "sex",
        dense(pre.MaxAbsScaler()),
        pre.StandardScaler(),
        LinearDiscriminantAnalysis(),
    ),
    "GaussianNB": ("size", both(SCALED, "drop"), pre.StandardScaler(), GaussianNB()),
    "a scaler in a frame": CASES["frames"],
    # Fitted without nulls, which requests may hold: scikit-learn answers those, by raising.
    "nulls": (
        "price",
        make_column_transformer(("passthrough", ["adult", "depth"])),
        linear.Ridge(),
    ),
}
