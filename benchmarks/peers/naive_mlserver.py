"""The usual MLServer runtime: Open Inference Protocol (V2) in and out, by its pandas codec."""

import joblib
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, PandasCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import get_model_uri


class Penguins(MLModel):
    async def load(self) -> bool:
        self.model = joblib.load(await get_model_uri(self.settings))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        data = PandasCodec.decode_request(payload)
        labels = self.model.predict(data)
        shares = self.model.predict_proba(data)
        outputs = [
            StringCodec.encode_output("labels", labels.tolist()),
            NumpyCodec.encode_output("probabilities", shares),
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
