"""The usual FastAPI service: typed rows, a pickled pipeline, a DataFrame of the rows."""

import os

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
model = joblib.load(f"{os.environ['MODEL_DIR']}/model.joblib")


class Penguin(BaseModel):
    island: str
    bill_length_mm: float | None = None
    bill_depth_mm: float | None = None
    flipper_length_mm: float | None = None
    body_mass_g: float | None = None
    sex: str | None = None


class Rows(BaseModel):
    instances: list[Penguin]


@app.post("/predict")
def predict(rows: Rows):
    data = pd.DataFrame([row.model_dump() for row in rows.instances])
    labels = model.predict(data)
    shares = model.predict_proba(data)
    predictions = [
        {"label": label, "probabilities": dict(zip(model.classes_, row, strict=True))}
        for label, row in zip(labels.tolist(), shares.tolist(), strict=True)
    ]
    return {"predictions": predictions}
