"""Spans arrive at a collector with the client's span as their parent; off, nothing is loaded."""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from project import ROOT, free_port

ROW = {"island": "Biscoe"}


class Collector(ThreadingHTTPServer):
    """Takes spans as OTLP over HTTP, and keeps them."""

    def __init__(self):
        self.spans, self.services = [], set()
        super().__init__(("127.0.0.1", 0), Receiver)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def take(self, body):
        for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = read(sent.resource.attributes)
            self.services.add((about["service.name"], about["service.instance.id"]))
            self.spans += [span for scope in sent.scope_spans for span in scope.spans]


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        assert self.path == "/v1/traces"
        self.server.take(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def read(attributes):
    """Attributes as a dict."""
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value")
        for pair in attributes
    }


@pytest.fixture
def collector():
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_two_workers_send_spans_with_their_parents_and_log_their_ids(start, collector):
    service = start(
        WEB_CONCURRENCY="2",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="100",  # milliseconds
    )
    service.ready()
    bad, kinds = [{"island": 3}], {"lane": "application/json", "flask": "text/plain"}
    sent = {}  # trace id: parent's id, what was asked
    for i in range(32):
        asked = ("lane", "flask", "refused", "nowhere")[i % 4]
        trace, parent = f"{i + 1:032x}", f"{i + 100:016x}"
        sent[trace] = parent, asked
        headers = {"traceparent": f"00-{trace}-{parent}-01", "X-Request-ID": f"id-{i}"}
        if asked in kinds:
            body = json.dumps({"instances": [ROW, ROW]})
            headers["Content-Type"] = kinds[asked]
            requests.post(f"{service.url}/predict", data=body, headers=headers, timeout=60)
        elif asked == "refused":
            service.post(bad, headers=headers)
        else:
            requests.get(f"{service.url}/nowhere", headers=headers, timeout=60)
    unsampled = {"traceparent": f"00-{'e' * 32}-{'f' * 16}-00"}
    service.post([ROW], headers=unsampled)
    deadline, alone = time.monotonic() + 60, 0
    while not alone or (len(collector.services) < 2 and time.monotonic() < deadline):
        service.post([ROW], headers={"traceparent": "00-wrong"})  # a trace of its own
        alone += 1
    assert service.stop() == 0  # what was not sent yet is sent now
    spans = {span.trace_id.hex(): span for span in collector.spans}
    assert len(spans) == len(collector.spans) == len(sent) + alone  # none of probes
    assert not any(span.parent_span_id for trace, span in spans.items() if trace not in sent)
    assert {name for name, _ in collector.services} == {"penguins"}
    assert len(collector.services) == 2  # a worker each
    lines = map(json.loads, (service.logs / "service.jsonl").read_text().splitlines())
    logged = {line["request_id"]: line for line in lines if line["message"] == "request"}
    for i, (trace, (parent, asked)) in enumerate(sent.items()):
        span, found = spans[trace], read(spans[trace].attributes)
        status = {"lane": 200, "flask": 200, "refused": 422, "nowhere": 404}[asked]
        assert span.parent_span_id.hex() == parent
        assert span.kind == Span.SPAN_KIND_SERVER
        assert span.name == ("GET" if asked == "nowhere" else "POST /predict")
        assert span.status.code == Status.STATUS_CODE_UNSET  # 4xx is the client's
        assert found["http.response.status_code"] == status
        assert found.get("http.route") == (None if asked == "nowhere" else "/predict")
        rows = {"lane": 2, "flask": 2, "refused": 1}
        assert found.get("prediction.rows") == rows.get(asked)
        refused = {"refused": "invalid_rows", "nowhere": "not_found"}
        assert found.get("prediction.refused") == refused.get(asked)
        assert (found["model.name"], found["model.version"]) == ("penguins", "1")
        assert found["request.id"] == f"id-{i}"
        assert found["url.path"] == ("/nowhere" if asked == "nowhere" else "/predict")
        line = logged[f"id-{i}"]
        assert (line["trace_id"], line["span_id"]) == (trace, span.span_id.hex())


def test_an_error_has_a_span_that_says_so_and_its_log_line_the_id(
    client_of, collector, monkeypatch, predictor, caplog
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.url}/v1/traces")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=mine")
    client = client_of()
    client.application.config["PROPAGATE_EXCEPTIONS"] = False

    def fail(self, batch):
        raise ZeroDivisionError

    monkeypatch.setattr(type(predictor), "predict", fail)
    trace = "ab" * 16
    headers = {"traceparent": f"00-{trace}-{'cd' * 8}-01"}
    assert client.post("/predict", json={"instances": [ROW]}, headers=headers).status_code == 500
    [record] = [record for record in caplog.records if record.message == "unexpected error"]
    assert record.trace_id == trace
    deadline = time.monotonic() + 30
    while not collector.spans and time.monotonic() < deadline:
        time.sleep(0.05)
    [span] = collector.spans
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert read(span.attributes)["error.type"] == "500"
    assert {name for name, _ in collector.services} == {"mine"}


def test_a_collector_that_is_not_there_stops_nothing(start):
    there_is_none = f"http://127.0.0.1:{free_port()}"
    wait = {"OTEL_EXPORTER_OTLP_TIMEOUT": "1"}  # seconds; 10 unless it is set
    service = start(WEB_CONCURRENCY="1", OTEL_EXPORTER_OTLP_ENDPOINT=there_is_none, **wait)
    service.ready()
    assert service.post([ROW]).status_code == 200
    assert service.stop() == 0


def test_off_nothing_of_it_is_loaded():
    script = """
import pathlib, sys
from project import load
app = load("serving.app").create_app(
    load("serving.settings").Settings(), load("model.predictor").load(pathlib.Path("models"))
)
assert app.test_client().post("/predict", json={"instances": [{"island": ""}]}).status_code == 200
sys.exit([name for name in sys.modules if name.startswith("opentelemetry")] or 0)
"""
    paths = os.pathsep.join((str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")))
    command = [sys.executable, "-c", script]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, check=True)


def test_without_the_packages_a_start_is_refused_in_one_line(start, tmp_path):
    (tmp_path / "opentelemetry.py").write_text("raise ModuleNotFoundError(name=__name__)")
    paths = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    service = start(PYTHONPATH=paths, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318")
    assert service.process.wait(60) == 3
    lines = [json.loads(line)["message"] for line in service.output.read_text().splitlines()]
    [line] = [line for line in lines if "OTEL_EXPORTER_OTLP_ENDPOINT" in line]
    assert "opentelemetry is not installed: pip install -r requirements/tracing.txt" in line
