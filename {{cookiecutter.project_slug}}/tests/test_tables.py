"""Tables as bodies and answers of /predict: .npy, Arrow, Parquet."""

import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from project import load

NPY, ARROW, PARQUET = (
    "application/x-npy",
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.parquet",
)


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def structured(frame):
    """A structured array as a client makes one: text of a fixed width, "" for missing."""
    columns = {
        name: frame[name].to_numpy()
        if frame[name].dtype.kind == "f"
        else frame[name].fillna("").to_numpy().astype("U")
        for name in frame
    }
    array = np.empty(len(frame), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        array[name] = column
    return npy(array)


def arrow(frame):
    table, file = pa.Table.from_pandas(frame, preserve_index=False), io.BytesIO()
    with pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, max_chunksize=100)
    return file.getvalue()


def parquet(frame):
    file = io.BytesIO()
    # Categories as dictionaries, as pandas and DuckDB write them.
    kinds = {name: "category" for name in frame if frame[name].dtype.kind != "f"}
    frame.astype(kinds).to_parquet(file)
    return file.getvalue()


def read(kind, body):
    if kind == NPY:
        return pd.DataFrame(np.load(io.BytesIO(body), allow_pickle=False))
    if kind == ARROW:
        return pa.ipc.open_stream(body).read_all().to_pandas()
    return pq.read_table(io.BytesIO(body)).to_pandas()


WRITERS = {NPY: structured, ARROW: arrow, PARQUET: parquet}


@pytest.fixture
def frame(table, predictor):
    return table[[feature.name for feature in predictor.manifest.features]]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_table_is_answered_as_json_is(client, frame, rows, kind):
    expected = client.post("/predict", json={"instances": rows}).get_json()["predictions"]
    body = WRITERS[kind](frame)
    answer = client.post("/predict", data=body, content_type=kind)
    assert (answer.status_code, answer.mimetype) == (200, kind)  # in kind
    found = read(kind, answer.data)
    assert found["prediction"].tolist() == [one["label"] for one in expected]
    for name in expected[0]["probabilities"]:
        shares = [one["probabilities"][name] for one in expected]
        assert found[f"probability_{name}"].tolist() == shares
    asked = client.post(
        "/predict", data=body, content_type=kind, headers={"Accept": "application/json"}
    )
    assert asked.get_json()["predictions"] == expected


@pytest.mark.parametrize("kind", WRITERS)
def test_json_is_answered_by_the_table_that_accept_names(client, kind):
    rows = [{"island": "Atlantis", "body_mass_g": 1.0}, {"island": "Dream"}]
    answer = client.post("/predict", json={"instances": rows}, headers={"Accept": kind})
    assert answer.mimetype == kind
    flags = read(kind, answer.data)["flags"].tolist()
    assert flags == ["island:unknown_category body_mass_g:below_minimum", ""]


def test_a_matrix_serves_a_model_of_numbers(regression):
    model = load("model.predictor").load(regression)
    app = load("serving.app").create_app(load("serving.settings").Settings(), model)
    for array in (np.array([[1], [2]]), np.asfortranarray([[1.0], [2.0]], dtype=">f4")):
        answer = app.test_client().post("/predict", data=npy(array), content_type=NPY)
        assert read(NPY, answer.data)["prediction"].tolist() == pytest.approx([13.0, 16.0])


def header(shape, descr="<f8"):
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        (NPY, b"", "no .npy file"),
        (NPY, b"\x93NUMPY\x01\x00\xff\xff{", "no .npy file"),
        (NPY, b"\x93NUMPY\x09\x00", "no .npy file"),
        (NPY, header((2, 6)) + b"\0" * 8, "is 96 bytes, the body has 8"),
        (NPY, header((10**15, 6)), "the body has 0"),
        (NPY, header((-1, -6)) + b"\0" * 48, "bytes"),
        (NPY, npy(np.array([{"island": "Dream"}], dtype=object)), "Python objects"),
        (NPY, npy(np.zeros((2, 6), dtype=complex)), "expected a structured array"),
        (NPY, npy(np.zeros((2, 5))), "expected a structured array"),
        (NPY, npy(np.float64(1)), "expected a structured array"),
        (NPY, npy(np.array([(b"\xff",)], dtype=[("island", "S1")])), "no UTF-8"),
        (ARROW, b"", "no Arrow IPC stream"),
        (ARROW, b"garbage", "no Arrow IPC stream"),
        (PARQUET, b"", "no Parquet file"),
        (PARQUET, b"PAR1garbagePAR1", "no Parquet file"),
    ],
)
def test_a_broken_table_is_a_400(client, kind, body, words):
    answer = client.post("/predict", data=body, content_type=kind)
    assert answer.status_code == 400
    assert words in answer.get_json()["detail"]


@pytest.mark.parametrize("kind", WRITERS)
def test_every_fault_of_a_table_is_listed(client, kind):
    frame = pd.DataFrame(
        {"island": ["Dream", None], "body_mass_g": ["3", "x"], "flipper": [1.0, 2.0]}
    )
    answer = client.post("/predict", data=WRITERS[kind](frame), content_type=kind)
    assert answer.status_code == 422
    assert [(each["loc"], each["msg"]) for each in answer.get_json()["errors"]] == [
        (["instances", 0, "body_mass_g"], "must be a number, got a string"),
        (["instances", 0, "flipper"], "is no feature of this model"),
        (["instances", 1, "island"], "must not be null"),
        (["instances", 1, "body_mass_g"], "must be a number, got a string"),
    ]


def test_infinity_and_missing_columns_are_refused(client):
    frame = pd.DataFrame({"body_mass_g": [1.0, np.inf]})
    answer = client.post("/predict", data=arrow(frame), content_type=ARROW)
    assert [(each["loc"], each["msg"]) for each in answer.get_json()["errors"]] == [
        (["instances", 0, "island"], "is missing"),
        (["instances", 1, "island"], "is missing"),
        (["instances", 1, "body_mass_g"], "must be a finite number"),
    ]


@pytest.mark.parametrize("kind", WRITERS)
def test_too_large_a_table_is_a_413(predictor, kind):
    settings = load("serving.settings").Settings(max_rows=1000, max_body_mb=1)
    client = load("serving.app").create_app(settings, predictor).test_client()
    many = pd.DataFrame({"island": ["Dream"] * 1001})
    answer = client.post("/predict", data=WRITERS[kind](many), content_type=kind)
    assert answer.status_code == 413
    assert "MAX_ROWS" in answer.get_json()["detail"]


def test_a_table_that_unpacks_to_more_than_16_bodies_is_a_413(predictor):
    settings = load("serving.settings").Settings(max_body_mb=1)
    client = load("serving.app").create_app(settings, predictor).test_client()
    one = pa.array(["x" * 1_000_000] * 40)
    file = io.BytesIO()
    pq.write_table(pa.table({"island": one}), file, compression="zstd", use_dictionary=False)
    assert len(file.getvalue()) < 1_000_000
    answer = client.post("/predict", data=file.getvalue(), content_type=PARQUET)
    assert answer.status_code == 413
    assert "unpacked" in json.dumps(answer.get_json())


@pytest.mark.parametrize(
    ("sent", "accept", "got"),
    [
        (NPY, "*/*", NPY),  # as requests sends
        (NPY, "text/html", NPY),
        (NPY, f"{PARQUET};q=0.5, {ARROW}", ARROW),
        ("application/json", "*/*", "application/json"),
        ("text/plain", "*/*", "application/json"),
        ("application/json", f"application/json;q=0.1, {ARROW}", ARROW),
    ],
)
def test_the_form_of_the_answer_follows_accept(client, sent, accept, got):
    plain = json.dumps({"instances": [{"island": "Dream"}]})
    body = structured(pd.DataFrame({"island": ["Dream"]})) if sent == NPY else plain
    answer = client.post("/predict", data=body, content_type=sent, headers={"Accept": accept})
    assert (answer.status_code, answer.mimetype) == (200, got)
