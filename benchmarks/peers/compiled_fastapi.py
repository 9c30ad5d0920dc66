"""FastAPI with the generated service's own engine: what is owed to the engine, what to Flask."""

import os
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request, Response
from msgspec import json
from penguin_service.model import predictor

app = FastAPI()
model = predictor.load(Path(os.environ["MODEL_DIR"]))
model.prove()  # as each worker of the service does before it is ready


@app.post("/predict")
async def predict(request: Request):
    batch = model.schema.decode(await request.body())
    if batch is None:
        raise HTTPException(422)
    answers = model.predict(batch).structs(batch)
    return Response(json.encode({"predictions": answers}), media_type="application/json")
