"""The usual MLflow service: `mlflow models serve` of a saved model, which the first start saves."""

import os
import sys
from pathlib import Path

FOLDER = Path(os.environ["MODEL_DIR"], "mlflow")

if not FOLDER.exists():
    import joblib
    import mlflow

    class Penguins(mlflow.pyfunc.PythonModel):
        def load_context(self, context):
            self.model = joblib.load(context.artifacts["model"])

        def predict(self, context, model_input, params=None):
            labels = self.model.predict(model_input)
            shares = self.model.predict_proba(model_input)
            return [
                {"label": label, "probabilities": dict(zip(self.model.classes_, row, strict=True))}
                for label, row in zip(labels.tolist(), shares.tolist(), strict=True)
            ]

    artifacts = {"model": str(FOLDER.with_name("model.joblib"))}
    mlflow.pyfunc.save_model(FOLDER, python_model=Penguins(), artifacts=artifacts)

command = Path(sys.executable).with_name("mlflow")
options = ["--env-manager", "local", "--workers", "2", "--port", os.environ["PORT"]]
os.execv(command, [str(command), "models", "serve", "--model-uri", str(FOLDER), *options])
