"""The usual Flask service: a pickled pipeline and a DataFrame of the request's rows."""

import os

import joblib
import pandas as pd
from flask import Flask, jsonify, request

app = Flask(__name__)
model = joblib.load(f"{os.environ['MODEL_DIR']}/model.joblib")


@app.post("/predict")
def predict():
    data = pd.DataFrame(request.get_json()["instances"])
    labels = model.predict(data)
    shares = model.predict_proba(data)
    predictions = [
        {"label": label, "probabilities": dict(zip(model.classes_, row, strict=True))}
        for label, row in zip(labels.tolist(), shares.tolist(), strict=True)
    ]
    return jsonify({"predictions": predictions})
