"""The prediction log: every answered row, from every protocol, and what is kept out of it."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
import requests
from project import load
from sklearn.ensemble import HistGradientBoostingRegressor

ROW = {"island": "Biscoe", "bill_length_mm": 45.0, "sex": None}


def lines(folder, name="predictions.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_a_line_holds_the_row_and_its_answer(client_of, tmp_path):
    client = client_of(log_dir=str(tmp_path))
    body = {"instances": [ROW, ROW | {"island": "Atlantis"}]}
    answer = client.post("/predict", json=body, headers={"X-Request-ID": "id-1"}).get_json()
    first, second = lines(tmp_path)
    assert (first["request_id"], first["model"], first["version"]) == ("id-1", "penguins", "1")
    assert (first["row"], second["row"]) == (0, 1)
    assert {name: first["input"][name] for name in ROW} == ROW
    assert first["input"]["body_mass_g"] is None
    assert [first["output"], second["output"]] == answer["predictions"]
    assert second["output"]["flags"] == [{"feature": "island", "flag": "unknown_category"}]
    assert client.post("/predict", json={"instances": [{"island": 3}]}).status_code == 422
    assert client.post("/predict", json={"instances": []}).status_code == 200
    assert len(lines(tmp_path)) == 2


@pytest.mark.parametrize("express", [True, False])
def test_both_lanes_log(client_of, tmp_path, express):
    client = client_of(log_dir=str(tmp_path))
    headers = {"Content-Type": "application/json" if express else "text/plain"}
    client.post("/predict", data=json.dumps({"instances": [ROW]}), headers=headers)
    assert len(lines(tmp_path)) == 1


def test_features_are_left_out_or_hashed(client_of, tmp_path):
    client = client_of(log_dir=str(tmp_path), log_omit="bill_length_mm, sex", log_hash="island")
    client.post("/predict", json={"instances": [ROW, ROW, ROW | {"island": "Dream"}]})
    inputs = [line["input"] for line in lines(tmp_path)]
    assert not {"bill_length_mm", "sex"} & inputs[0].keys()
    assert inputs[0]["island"] == inputs[1]["island"] != inputs[2]["island"]
    assert "Biscoe" not in (tmp_path / "predictions.jsonl").read_text()
    keyed = client_of(log_dir=str(tmp_path), log_hash="island", log_hash_key="secret")
    keyed.post("/predict", json={"instances": [ROW]})
    assert lines(tmp_path)[-1]["input"]["island"] not in {each["island"] for each in inputs}
    every = ",".join(inputs[0]) + ",bill_length_mm,sex"
    client_of(log_dir=str(tmp_path), log_omit=every).post("/predict", json={"instances": [ROW]})
    assert lines(tmp_path)[-1]["input"] == {}


@pytest.mark.parametrize("setting", ["log_omit", "log_hash"])
def test_a_name_that_is_no_feature_stops_the_start(client_of, setting):
    error = load("serving.settings").SettingsError
    with pytest.raises(error, match=rf"{setting.upper()}='island,iland'.*iland"):
        client_of(**{setting: "island,iland"})


def test_integers_and_booleans_stay_what_they_are(client_of, folder_of, tmp_path):
    kinds = {"n": "integer", "yes": "boolean", "x": "number"}
    features = [
        {"name": name, "type": kind, "description": "", "nullable": True}
        for name, kind in kinds.items()
    ]
    estimator = HistGradientBoostingRegressor(max_iter=1).fit(
        pd.DataFrame({name: [0.0, 1.0] * 20 for name in kinds}), [1.0, 2.0] * 20
    )
    folder = folder_of(
        estimator,
        task="regression",
        features=features,
        golden=[],
        baseline={},
        target={"name": "y"},
        plan=None,
    )
    client = client_of(load("model.predictor").load(folder, "sklearn"), log_dir=str(tmp_path))
    rows = [{"n": 3, "yes": True, "x": 3}, {"yes": False}]
    assert client.post("/predict", json={"instances": rows}).status_code == 200
    assert [str(line["input"]) for line in lines(tmp_path)] == [
        "{'n': 3, 'yes': True, 'x': 3.0}",
        "{'n': None, 'yes': False, 'x': None}",
    ]


def test_requests_are_sampled_whole(client_of, tmp_path):
    client = client_of(log_dir=str(tmp_path), log_predictions=0.5)
    for _ in range(200):
        client.post("/predict", json={"instances": [ROW] * 3})
    found = lines(tmp_path)
    assert 150 < len(found) < 450
    counted = {line["request_id"]: 0 for line in found}
    for line in found:
        counted[line["request_id"]] += 1
    assert set(counted.values()) == {3}


def test_it_can_be_switched_off(client_of, tmp_path):
    client_of(log_dir=str(tmp_path), log_predictions=0.0).post(
        "/predict", json={"instances": [ROW]}
    )
    client_of().post("/predict", json={"instances": [ROW]})
    assert not [*tmp_path.iterdir()]


def test_two_services_on_one_volume_rotate_and_lose_nothing(start, rows):
    """Two workers each; files of 1 MiB, in both of which they append beside each other."""
    services = [start(WEB_CONCURRENCY="2", LOG_MAX_MB="1", LOG_KEEP="50") for _ in range(2)]
    for service in services:
        service.ready()
    sent, guard = [], threading.Lock()

    def ask(i):
        name = f"request-{i}"
        url = f"{services[i % 2].url}/predict"
        answer = requests.post(
            url, json={"instances": rows}, headers={"X-Request-ID": name}, timeout=60
        )
        assert answer.status_code == 200
        with guard:
            sent.append(name)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(60)))
    for service in services:
        assert service.stop() == 0
    folder = services[0].logs
    assert not [*folder.glob(".*")]  # all that waited is written
    names = sorted(file.name for file in folder.glob("predictions.jsonl*"))
    assert len(names) > 3
    found = [line for name in names for line in lines(folder, name)]
    assert sorted({line["request_id"] for line in found}) == sorted(sent)
    assert len(found) == 60 * len(rows)
    assert {line["request_id"] for line in lines(folder, "service.jsonl") if "path" in line} >= {
        *sent
    }


def test_a_volume_that_vanished_stops_nothing(start, tmp_path):
    service = start(WEB_CONCURRENCY="1", LOG_DIR=str(tmp_path / "none"))
    assert service.ready().json()["log_fault"] == "No such file or directory"
    assert service.post([ROW]).status_code == 200
