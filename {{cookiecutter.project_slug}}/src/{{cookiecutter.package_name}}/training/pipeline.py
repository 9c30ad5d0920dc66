"""YOURS: the data, the features and the estimator. Nothing else in the project knows them.

The example learns a penguin's species from the Palmer penguins (Gorman, Williams and Fraser
2014, https://doi.org/10.1371/journal.pone.0090081; CC0 release by Horst, Hill and Gorman 2020).
"""

from pathlib import Path

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ..model.manifest import Feature, Task

NAME = "penguins"
VERSION = "1"
TASK: Task = "classification"
TARGET = "species"
DATA = Path("data/penguins.csv")
SEED = 0
# A new candidate must reach the recorded model's value of this metric (greater is better).
GATE = "balanced_accuracy"

# Ranges, categories, deciles and examples are taken from the data when the model is trained.
FEATURES = [
    Feature("island", "category", "Island of the Palmer Archipelago where the bird was seen"),
    Feature("bill_length_mm", "number", "Length of the bill's upper ridge", "mm", nullable=True),
    Feature("bill_depth_mm", "number", "Depth of the bill's upper ridge", "mm", nullable=True),
    Feature("flipper_length_mm", "number", "Length of the flipper", "mm", nullable=True),
    Feature("body_mass_g", "number", "Body mass", "g", nullable=True),
    Feature("sex", "category", "Sex, as found by molecular sexing", nullable=True),
]


def load_data() -> pd.DataFrame:
    """One row an example: a column for each feature and one for the target."""
    return pd.read_csv(DATA)


def build_estimator() -> Pipeline:
    """The unfitted estimator: anything that scikit-learn can fit, dump and load."""
    numbers = [feature.name for feature in FEATURES if feature.type != "category"]
    categories = [feature.name for feature in FEATURES if feature.type == "category"]
    number_steps = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    category_steps = make_pipeline(
        SimpleImputer(strategy="most_frequent"),
        # A category that training never saw is flagged in the answer, and counts as none.
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    columns = ColumnTransformer(
        [("numbers", number_steps, numbers), ("categories", category_steps, categories)]
    )
    model = HistGradientBoostingClassifier(random_state=SEED)
    return Pipeline([("columns", columns), ("model", model)])
