"""The least that Flask can do: route, read the body, answer a constant of the usual size."""

from flask import Flask, Response, request
from wsgi_hello import ANSWER

app = Flask(__name__, static_folder=None)


@app.post("/predict")
def predict():
    request.get_data(cache=False)
    return Response(ANSWER, mimetype="application/json")
