"""V2, the Open Inference Protocol: shapes, datatypes, binary data, and what is refused."""

import gzip
import json
import struct
import time
import zlib

import numpy as np
import pandas as pd
import pytest
from project import load
from sklearn.linear_model import LogisticRegression

INFER = "/v2/models/penguins/infer"
ISLAND = {"name": "island", "datatype": "BYTES", "shape": [1], "data": ["Biscoe"]}
LENGTH = "Inference-Header-Content-Length"


def infer(client, content, tail=b"", path=INFER, **headers):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    if tail or headers.pop("binary", False):
        headers[LENGTH] = str(len(body))
    return client.post(path, data=body + tail, headers=headers)


def labels(answer):
    assert answer.status_code == 200, answer.text
    return answer.get_json()["outputs"][0]["data"]


@pytest.fixture
def matrix(client_of, regression):
    """A client of a model of one numeric feature: price = 3 * area + 10."""
    return client_of(load("model.predictor").load(regression))


def test_metadata_names_a_tensor_a_feature(client):
    about = client.get("/v2/models/penguins").get_json()
    assert about["versions"] == ["1"]
    kinds = {tensor["name"]: tensor["datatype"] for tensor in about["inputs"]}
    assert kinds["island"] == kinds["sex"] == "BYTES"
    assert kinds["bill_length_mm"] == "FP64"
    shapes = {output["name"]: output["shape"] for output in about["outputs"]}
    assert shapes == {"predict": [-1], "predict_proba": [-1, 3]}
    assert client.get("/v2/models/penguins/versions/1").get_json() == about
    assert client.get("/v2").get_json() == client.get("/v2/").get_json()
    assert "binary_tensor_data" in client.get("/v2").get_json()["extensions"]
    for path, words in {
        "/v2/models/other": "Model other not found",
        "/v2/models/penguins/versions/9/ready": "Model penguins with version 9 not found",
    }.items():
        answer = client.get(path)
        assert (answer.status_code, answer.get_json()["error"]) == (404, words)


def test_an_id_is_echoed_or_made(client):
    assert infer(client, {"id": "42", "inputs": [ISLAND]}).get_json()["id"] == "42"
    answer = infer(client, {"inputs": [ISLAND]})
    assert answer.get_json()["id"] == answer.headers["X-Request-ID"]


def test_outputs_are_those_that_were_asked_for(client):
    def names(*outputs):
        answer = infer(client, {"inputs": [ISLAND], "outputs": [{"name": n} for n in outputs]})
        return [output["name"] for output in answer.get_json()["outputs"]]

    assert names() == ["predict", "predict_proba"]
    assert names("predict_proba") == ["predict_proba"]
    assert names("output-0") == ["output-0"]
    answer = infer(client, {"inputs": [ISLAND], "outputs": [{"name": "logits"}]})
    assert answer.status_code == 400
    assert "predict_proba" in answer.get_json()["error"]


def test_binary_data_comes_for_the_outputs_that_ask_for_it(client):
    outputs = [{"name": "predict"}, {"name": "predict_proba", "parameters": {"binary_data": True}}]
    answer = infer(client, {"inputs": [ISLAND], "outputs": outputs})
    length = int(answer.headers[LENGTH])
    first, second = json.loads(answer.data[:length])["outputs"]
    assert len(first["data"]) == 1
    assert second["parameters"] == {"binary_data_size": 24}
    assert np.frombuffer(answer.data[length:], "<f8").sum() == pytest.approx(1)
    whole = infer(client, {"inputs": [ISLAND], "parameters": {"binary_data_output": True}})
    assert b"Gentoo" not in whole.data[: int(whole.headers[LENGTH])]


@pytest.mark.parametrize("kind", ["FP16", "FP32", "FP64", "INT8", "INT64", "UINT8", "UINT16"])
@pytest.mark.parametrize("name", ["area", "input-0"])
def test_numbers_of_every_size(matrix, kind, name):
    values = np.array([0, 1, 2, 3], load("serving.dialects.tensors").DATATYPES[kind])
    tensor = {"name": name, "datatype": kind, "shape": [4, 1]}
    packed = tensor | {"parameters": {"binary_data_size": values.nbytes}}
    assert labels(infer(matrix, {"inputs": [packed]}, values.tobytes())) == [10, 13, 16, 19]
    flat = {"inputs": [tensor | {"data": values.tolist()}], "parameters": {"content_type": "np"}}
    assert labels(infer(matrix, flat)) == [10, 13, 16, 19]


def test_a_body_without_json_is_the_matrix(matrix):
    values = np.array([0.0, 1.0, 2.0])
    answer = infer(matrix, b"", values.tobytes())
    assert labels(answer) == [10, 13, 16]
    assert infer(matrix, b"", values.tobytes()[:-1]).status_code == 400


def test_a_body_without_json_needs_a_model_of_numbers(client):
    answer = infer(client, b"", b"12345678")
    assert answer.status_code == 400
    assert "numbers" in answer.get_json()["error"]


def test_the_length_may_stand_in_the_content_type(matrix):
    body = json.dumps({"inputs": [{"name": "area", "datatype": "FP64", "shape": [1],
                                   "parameters": {"binary_data_size": 8}}]}).encode()  # fmt: skip
    kind = f"application/vnd.sagemaker-triton.binary+json;json-header-size={len(body)}"
    packed = body + struct.pack("<d", 2)
    answer = matrix.post(INFER, data=packed, headers={"Content-Type": kind})
    assert labels(answer) == [16]


@pytest.mark.parametrize(("coding", "unpack"), [("gzip", gzip.decompress),
                                                ("deflate", zlib.decompress)])  # fmt: skip
def test_an_answer_is_packed_if_that_is_all_that_is_asked_for(client, coding, unpack):
    packed = infer(client, {"inputs": [ISLAND]}, **{"Accept-Encoding": coding})
    assert packed.headers["Content-Encoding"] == coding
    assert json.loads(unpack(packed.data))["outputs"]
    plain = infer(client, {"inputs": [ISLAND]}, **{"Accept-Encoding": "gzip, deflate, br"})
    assert "Content-Encoding" not in plain.headers


def tensor(**changes):
    return {"inputs": [ISLAND | changes]}


BAD = {
    "no object": [],
    "no inputs": {},
    "inputs is no list": {"inputs": 3},
    "parameters is no object": {"inputs": [ISLAND], "parameters": 3},
    "an unknown content type": {"inputs": [ISLAND], "parameters": {"content_type": "xml"}},
    "no tensor": {"inputs": [3]},
    "no name": {"inputs": [{"shape": [1]}]},
    "no shape": tensor(shape=None),
    "a negative shape": tensor(shape=[-1]),
    "a shape of booleans": tensor(shape=[True]),
    "an overflowing shape": tensor(shape=[2**62, 2**62, 2**62]),
    "a shape of text": tensor(shape=["1"]),
    "no dimensions": tensor(shape=[]),
    "too few values": tensor(shape=[2]),
    "too many values": tensor(data=["a", "b"]),
    "uneven nesting": tensor(shape=[2], data=[["a"], "b"]),
    "values of another type": tensor(data=[3]),
    "text in a number": {"inputs": [ISLAND | {"datatype": "FP64"}]},
    "an unknown datatype": tensor(datatype="FP8"),
    "a list as a datatype": tensor(datatype=[]),
    "no data": {"inputs": [{k: v for k, v in ISLAND.items() if k != "data"}]},
    "a number beyond float64": {"inputs": [ISLAND | {"datatype": "FP64", "data": [10**400]}]},
    "an unknown feature": tensor(name="iland"),
    "a feature twice": {"inputs": [ISLAND, ISLAND]},
    "another length": {
        "inputs": [ISLAND, ISLAND | {"name": "sex", "shape": [2], "data": ["a", "b"]}]
    },
    "a matrix of another width": tensor(name="x", shape=[1, 3], data=["a"] * 3),
    "outputs is no list": {"inputs": [ISLAND], "outputs": "predict"},
    "outputs without a name": {"inputs": [ISLAND], "outputs": [3]},
    "more binary data than there is": tensor(parameters={"binary_data_size": 3}),
    "a negative size": tensor(parameters={"binary_data_size": -3}),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_malformed_is_a_400(client, case):
    answer = infer(client, BAD[case])
    assert answer.status_code == 400, answer.text
    assert answer.get_json()["error"]


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "99999", "", "18446744073709551617"])
def test_a_malformed_length_is_a_400(client, length):
    body = json.dumps({"inputs": [ISLAND]})
    answer = client.post(INFER, data=body, headers={LENGTH: length})
    assert answer.status_code == 400
    assert LENGTH in answer.get_json()["error"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x06\0\0\0Bisc", "ends beyond"),
        (b"\x06\0", "no BYTES"),
        (b"\x01\0\0\0\xff", "no BYTES"),
        (b"\x01\0\0\0a\x01\0\0\0b", "another size"),
    ],
)
def test_malformed_texts_are_a_400(client, data, words):
    packed = {k: v for k, v in ISLAND.items() if k != "data"}
    packed |= {"parameters": {"binary_data_size": len(data)}}
    answer = infer(client, {"inputs": [packed]}, data)
    assert answer.status_code == 400
    assert words in answer.get_json()["error"]
    assert infer(client, tensor(), b"more").status_code == 400


def test_binary_data_costs_half_of_json(client_of, folder_of):
    """10,000 rows of ten numbers: CPU time of the request, the best of some pairs."""
    names = [f"x{i}" for i in range(10)]
    values = np.random.default_rng(0).normal(size=(10_000, 10))
    estimator = LogisticRegression().fit(pd.DataFrame(values, columns=names), values[:, 0] > 0)
    feature = {"type": "number", "description": "", "minimum": -9, "maximum": 9}
    known = {"missing_share": 0, "quantiles": np.linspace(-4, 4, 11).tolist()}
    folder = folder_of(
        estimator,
        features=[feature | {"name": name} for name in names],
        baseline=dict.fromkeys(names, known),
        target={"name": "y", "classes": [False, True]},
        golden=[],
        plan=None,
    )
    client = client_of(load("model.predictor").load(folder))
    tensor = {"name": "x", "datatype": "FP64", "shape": [10_000, 10]}
    plain = json.dumps({"inputs": [tensor | {"data": values.ravel().tolist()}]}).encode()
    packed = {"inputs": [tensor | {"parameters": {"binary_data_size": values.nbytes}}]}
    header = json.dumps(packed | {"parameters": {"binary_data_output": True}}).encode()

    def seconds(*request):
        began = time.process_time()
        answers.append(infer(client, *request))
        return time.process_time() - began

    answers = []

    pairs = [(seconds(header, values.tobytes()), seconds(plain)) for _ in range(7)]
    assert labels(answers[1]) == estimator.predict(pd.DataFrame(values, columns=names)).tolist()
    assert all(answer.status_code == 200 for answer in answers)
    binary, text = (min(times) for times in zip(*pairs, strict=True))
    print(binary / text)
    assert binary <= 0.5 * text, (binary, text)


def test_faults_have_their_place(client):
    data = {"inputs": [ISLAND | {"shape": [2], "data": ["Biscoe", None]}]}
    answer = infer(client, data)
    assert answer.status_code == 400
    assert answer.get_json()["errors"] == [
        {"loc": ["inputs", "island", 1], "msg": "must not be null"}
    ]
