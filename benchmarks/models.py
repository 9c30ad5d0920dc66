"""Train one of the compared models by the generated project's own training.

Run in the project's folder by the Python that has it: `python models.py NAME FOLDER`.
"""

import sys
from pathlib import Path

from penguin_service.training import fit, pipeline
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

FINAL = {
    "logistic": LogisticRegression(max_iter=1000, random_state=0),
    "gradient_boosting": HistGradientBoostingClassifier(random_state=0),
    "random_forest": RandomForestClassifier(n_estimators=100, random_state=0),
}

usual = pipeline.build_estimator
name, folder = sys.argv[1:]
pipeline.build_estimator = lambda: usual().set_params(model=FINAL[name])
fit.train(Path(folder), accept=True)
