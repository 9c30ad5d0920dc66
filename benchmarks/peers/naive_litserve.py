"""The usual LitServe service."""

import os

import joblib
import litserve
import pandas as pd


class Penguins(litserve.LitAPI):
    def setup(self, device):
        self.model = joblib.load(f"{os.environ['MODEL_DIR']}/model.joblib")

    def decode_request(self, request):
        return pd.DataFrame(request["instances"])

    def predict(self, data):
        return self.model.predict(data), self.model.predict_proba(data)

    def encode_response(self, output):
        labels, shares = output
        predictions = [
            {"label": label, "probabilities": dict(zip(self.model.classes_, row, strict=True))}
            for label, row in zip(labels.tolist(), shares.tolist(), strict=True)
        ]
        return {"predictions": predictions}


if __name__ == "__main__":
    server = litserve.LitServer(Penguins(), accelerator="cpu", workers_per_device=2)
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), generate_client_file=False)
