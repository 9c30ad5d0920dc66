"""The same rows, by every dialect and encoding, get the same predictions; and the switches."""

import csv
import gzip
import io
import json
import struct

import numpy as np
import pandas as pd
import pytest
from project import load

DIALECTS = load("serving.dialects").DIALECTS
VERTEX = {"aip_health_route": "/v", "aip_predict_route": "/v"}


@pytest.fixture(scope="module")
def many(rows):
    """200 rows: the data's with its nulls, all null, unknown categories and extremes."""
    odd = [{"island": "Atlantis"}, {"island": "Biscoe", "sex": "unknown"}]
    odd += [{"island": "Dream", "bill_length_mm": far} for far in (1e9, -1e9, 0.1, 5e-324, 1e20)]
    odd += [{"island": "Dream", "body_mass_g": 2**53}]
    names = rows[0].keys()
    found = [dict.fromkeys(names) | row for row in odd]
    return [*found, *rows[:95], *rows[-97:]]


@pytest.fixture(scope="module")
def expected(many, predictor):
    return predictor.predict(predictor.schema.read(many))


def ask(client, path, body, kind="application/json", **headers):
    content = body if isinstance(body, (bytes, str)) else json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = client.post(path, data=content, headers={"Content-Type": kind, **named})
    assert answer.status_code == 200, answer.text
    return answer


def values(rows):
    return [list(row.values()) for row in rows]


def columns(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


def as_csv(rows, header):
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def as_npy(rows):
    frame = pd.DataFrame(rows)
    kinds = [(n, "U12" if frame[n].dtype.kind in "OT" else "f8") for n in frame]
    array = np.array(
        [tuple("" if v is None and k == "U12" else v for v, (_, k) in zip(row, kinds, strict=True))
         for row in values(rows)], kinds)  # fmt: skip
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def as_parquet(rows):
    file = io.BytesIO()
    pd.DataFrame(rows).to_parquet(file)
    return file.getvalue()


def tensors(rows, nested=False):
    for name, column in columns(rows).items():
        kind = "BYTES" if name in ("island", "sex") else "FP64"
        data = [[value] for value in column] if nested else column
        shape = [len(rows), 1] if nested else [len(rows)]
        yield {"name": name, "datatype": kind, "shape": shape, "data": data}


def binary(rows):
    """A body with binary data and the length of its JSON."""
    inputs, tail = [], b""
    for tensor in tensors(rows):
        data = tensor.pop("data")
        if tensor["datatype"] == "BYTES":
            texts = [(value or "").encode() for value in data]
            packed = b"".join(struct.pack("<I", len(text)) + text for text in texts)
        else:
            packed = np.array(data, "<f8").tobytes()
        inputs.append(tensor | {"parameters": {"binary_data_size": len(packed)}})
        tail += packed
    header = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    return header + tail, len(header)


INFER = "/v2/models/penguins/infer"
PREDICT = "/v1/models/penguins:predict"


def infer(client, body, **headers):
    """Labels and probabilities of a V2 answer in JSON."""
    outputs = ask(client, INFER, body, **headers).get_json()["outputs"]
    labels, shares = (output["data"] for output in outputs)
    return labels, np.reshape(shares, outputs[1]["shape"])


def infer_binary(client, rows, pack=False):
    body, length = binary(rows)
    headers = {"Inference_Header_Content_Length": str(length)}
    if pack:
        body, headers = gzip.compress(body), headers | {"Content_Encoding": "gzip"}
    answer = ask(client, INFER, body, "application/octet-stream", **headers)
    cut = int(answer.headers["Inference-Header-Content-Length"])
    outputs, tail = json.loads(answer.data[:cut])["outputs"], answer.data[cut:]
    first, second = (output["parameters"]["binary_data_size"] for output in outputs)
    assert len(tail) == first + second
    labels, at = [], 0
    while at < first:
        (size,) = struct.unpack_from("<I", tail, at)
        labels.append(tail[at + 4 : at + 4 + size].decode())
        at += 4 + size
    return labels, np.frombuffer(tail[first:], "<f8").reshape(outputs[1]["shape"])


def v1(client, body):
    """Labels and probabilities, of two requests."""
    labels = ask(client, PREDICT, body).get_json()["predictions"]
    proba = ask(client, PREDICT, body | {"signature_name": "predict_proba"}).get_json()
    return labels, np.array(proba["predictions"])


def invoke(client, body, kind="application/json", **headers):
    answer = ask(client, "/invocations", body, kind, **headers)
    return answer.get_json()["predictions"], None


def mlflow(client, body):
    shares = ask(client, "/invocations", body | {"params": {"predict_method": "predict_proba"}})
    return invoke(client, body)[0], np.array(shares.get_json()["predictions"])


def objects(answers):
    labels = [answer["label"] for answer in answers]
    return labels, np.array([list(answer["probabilities"].values()) for answer in answers])


def table(rows):
    return {"columns": list(rows[0]), "index": [*range(len(rows))], "data": values(rows)}


WAYS = {
    "v2 json": lambda c, r: infer(c, {"inputs": [*tensors(r)]}),
    "v2 nested": lambda c, r: infer(
        c, {"inputs": [*tensors(r, nested=True)], "parameters": {"content_type": "pd"}}
    ),
    "v2 binary": infer_binary,
    "v2 gzip": lambda c, r: infer_binary(c, r, pack=True),
    "v1 instances": lambda c, r: v1(c, {"instances": r}),
    "v1 lists": lambda c, r: v1(c, {"instances": values(r)}),
    "v1 inputs": lambda c, r: v1(c, {"inputs": columns(r)}),
    "mlflow split": lambda c, r: mlflow(c, {"dataframe_split": table(r)}),
    "mlflow records": lambda c, r: mlflow(c, {"dataframe_records": r}),
    "mlflow instances": lambda c, r: mlflow(c, {"instances": r}),
    "mlflow inputs": lambda c, r: mlflow(c, {"inputs": columns(r)}),
    "mlflow csv": lambda c, r: invoke(c, as_csv(r, header=True), "text/csv; charset=utf-8"),
    "mlflow parquet": lambda c, r: invoke(c, as_parquet(r), "application/vnd.apache.parquet"),
    "sagemaker lists": lambda c, r: (ask(c, "/invocations", values(r)).get_json(), None),
    "sagemaker instances": lambda c, r: objects(invoke(c, {"instances": r})[0]),
    "sagemaker csv": lambda c, r: (
        ask(c, "/invocations", as_csv(r, header=False), "text/csv", Accept="text/csv")
        .text.splitlines(), None,
    ),
    "sagemaker csv with its header": lambda c, r: objects(
        invoke(c, as_csv(r, header=True), "text/csv")[0]
    ),
    "sagemaker npy": lambda c, r: (
        np.load(io.BytesIO(ask(c, "/invocations", as_npy(r), "application/x-npy",
                               Accept="application/x-npy").data)).tolist(), None,
    ),
    "vertex": lambda c, r: objects(ask(c, "/v", {"instances": r}).get_json()["predictions"]),
    "vertex lists": lambda c, r: objects(
        ask(c, "/v", {"instances": values(r), "parameters": {}}).get_json()["predictions"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", [way for way in WAYS if way.split()[0] in DIALECTS])
def test_the_same_rows_get_the_same_predictions(way, client_of, many, expected):
    owner = way.split()[0] if way.split()[0] in ("mlflow", "sagemaker") else ""
    client = client_of(invocations=owner, **VERTEX)
    tables = "tabular" in load("serving.app").ROOMS
    if not tables and way in ("mlflow parquet", "sagemaker npy"):
        pytest.skip("tables were taken away")
    labels, shares = WAYS[way](client, many)
    assert labels == expected.labels
    assert shares is None or (shares == expected.probabilities).all()


def paths(client):
    return {rule.rule for rule in client.application.url_map.iter_rules()}


def test_dialects_are_switched_off(client_of):
    every = paths(client_of(**VERTEX))
    assert every >= {"/predict", "/health/ready"}
    assert ("/v" in every) is ("vertex" in DIALECTS)
    native = paths(client_of(dialects="native", **VERTEX))
    assert native >= {"/predict", "/health/ready"}
    assert not any(path.startswith(("/v", "/invocations", "/ping")) for path in native)
    with pytest.raises(load("serving.settings").SettingsError, match=r"'v3, all'.*v3 is none of"):
        client_of(dialects="v3, all")


@pytest.mark.parametrize(
    ("dialects", "invocations", "owner"),
    [
        ("all", "", "mlflow"),
        ("all", "sagemaker", "sagemaker"),
        ("sagemaker", "", "sagemaker"),
        ("mlflow", "sagemaker", None),
        ("native", "mlflow", None),
    ],
)
def test_invocations_has_one_owner(client_of, dialects, invocations, owner):
    if not {dialects, owner} <= {"all", "native", None, *DIALECTS}:
        pytest.skip("this dialect was taken away")
    client = client_of(dialects=dialects, invocations=invocations)
    assert ("/invocations" in paths(client)) is (owner is not None)
    assert ("/version" in paths(client)) is (owner == "mlflow")
    assert ("/execution-parameters" in paths(client)) is (owner == "sagemaker")


ERRORS = [
    ("v2", "post", INFER, b"no json", 400),
    ("v2", "get", INFER, b"", 405),
    ("v2", "post", "/v2/models/other/infer", b"{}", 404),
    ("v2", "get", "/v2/nowhere", b"", 404),
    ("v1", "post", PREDICT, b"{}", 400),
    ("v1", "post", PREDICT, b'{"instances": [{"island": 3}]}', 400),
    ("v1", "get", "/v1/models/other", b"", 404),
    ("mlflow", "post", "/invocations", b"[]]", 400),
    ("mlflow", "delete", "/invocations", b"", 405),
    ("sagemaker", "post", "/invocations", b"{}", 400),
    ("sagemaker", "post", "/invocations", b" " * 2**21, 413),
    ("vertex", "post", "/v", b'{"instances": 3}', 400),
]


@pytest.mark.parametrize(
    ("dialect", "method", "path", "body", "status"), [e for e in ERRORS if e[0] in DIALECTS]
)
def test_every_refusal_has_the_one_error_body(client_of, dialect, method, path, body, status):
    client = client_of(dialects=dialect, max_body_mb=1, **VERTEX)
    answer = client.open(path, method=method, data=body)
    content = answer.get_json()
    assert answer.status_code == content["status"] == status
    assert isinstance(content["error"], str)
    assert content["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/v2/health/ready", "/v1/models/penguins", "/ping", "/v"])
def test_a_probe_fails_until_the_model_is_proven(client_of, path):
    client = client_of(**VERTEX)
    if client.get(path).status_code == 404:
        pytest.skip("this dialect was taken away")
    client.application.extensions["readiness"].drain()
    answer = client.get(path)
    assert (answer.status_code, answer.get_json()["error_code"]) == (503, "SERVICE_UNAVAILABLE")
    assert "draining" in answer.get_json()["error"]


def test_a_packed_body_is_unpacked_within_the_limit(client_of):
    client = client_of(max_body_mb=1)
    body = json.dumps({"instances": [{"island": "Biscoe"}]}).encode()

    def post(content, coding="gzip"):
        return client.post("/predict", data=content, headers={"Content-Encoding": coding})

    assert post(gzip.compress(body)).status_code == 200
    assert post(body, "identity").status_code == 200
    bomb = post(gzip.compress(b" " * 2**26))
    assert (bomb.status_code, bomb.get_json()["error_code"]) == (413, "REQUEST_ENTITY_TOO_LARGE")
    for broken in (b"no gzip", gzip.compress(body)[:-9]):
        answer = post(broken)
        assert answer.status_code == 400
        assert "gzip" in answer.get_json()["error"]
    assert post(body, "br").status_code == 415
