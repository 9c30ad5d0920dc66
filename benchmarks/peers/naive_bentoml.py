"""The usual BentoML service."""

import os

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=2)
class Penguins:
    def __init__(self) -> None:
        self.model = joblib.load(f"{os.environ['MODEL_DIR']}/model.joblib")

    @bentoml.api
    def predict(self, instances: list[dict]) -> dict:
        data = pd.DataFrame(instances)
        labels = self.model.predict(data)
        shares = self.model.predict_proba(data)
        predictions = [
            {"label": label, "probabilities": dict(zip(self.model.classes_, row, strict=True))}
            for label, row in zip(labels.tolist(), shares.tolist(), strict=True)
        ]
        return {"predictions": predictions}
