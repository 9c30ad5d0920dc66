"""The compared services: how each is started, asked and stopped."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any, Self

from measure import processes
from prepare import HERE, Place

Row = dict[str, Any]
CATEGORIES = ("island", "sex")
CLASSES = ("Adelie", "Chinstrap", "Gentoo")
START_LIMIT = 120  # seconds


def v2(rows: list[Row]) -> Any:
    """Open Inference Protocol: one tensor a feature."""
    inputs = []
    for name in rows[0]:
        text = {"datatype": "BYTES", "parameters": {"content_type": "str"}}
        kind = text if name in CATEGORIES else {"datatype": "FP64"}
        data = [row[name] for row in rows]
        inputs.append({"name": name, "shape": [len(rows), 1], "data": data, **kind})
    return {"parameters": {"content_type": "pd"}, "inputs": inputs}


def v2_answers(content: Any) -> list[Row]:
    labels, shares = (output["data"] for output in content["outputs"])
    width = len(CLASSES)
    parts = [shares[at : at + width] for at in range(0, len(shares), width)]
    return [
        {"label": label, "probabilities": dict(zip(CLASSES, part, strict=True))}
        for label, part in zip(labels, parts, strict=True)
    ]


@dataclass(frozen=True)
class Target:
    """A kind of service. `command` and `variables` hold places that `Server` fills in."""

    title: str
    command: str
    kind: str = "usual"  # or "engine": the generated service's own; or "bare": no model
    path: str = "/predict"
    body: Callable[[list[Row]], Any] = lambda rows: {"instances": rows}
    answers: Callable[[Any], list[Row]] = lambda content: content["predictions"]
    variables: dict[str, str] = field(default_factory=dict)


GUNICORN = "gunicorn --bind 127.0.0.1:{port}"
HELLO = "gunicorn --config {peers}/hello_conf.py"
UVICORN = "uvicorn --workers 2 --port {port}"
TARGETS = {
    "service": Target("the baked service", "model-service serve", "engine"),
    "naive_flask": Target("naive Flask", f"{GUNICORN} --workers 2 naive_flask:app"),
    "naive_fastapi": Target("naive FastAPI", f"{UVICORN} naive_fastapi:app"),
    "compiled_fastapi": Target(
        "FastAPI with our engine", f"{UVICORN} compiled_fastapi:app", "engine"
    ),
    "flask_hello": Target("bare Flask hello", f"{HELLO} flask_hello:app", "bare"),
    "wsgi_hello": Target("bare WSGI hello", f"{HELLO} wsgi_hello:app", "bare"),
    "litserve": Target("LitServe", "python {peers}/naive_litserve.py"),
    "bentoml": Target("BentoML", "bentoml serve naive_bentoml:Penguins --port {port}"),
    "mlserver": Target(
        "MLServer",
        "mlserver start .",
        path="/v2/models/penguins/infer",
        body=v2,
        answers=v2_answers,
        variables={
            "MLSERVER_MODEL_NAME": "penguins",
            "MLSERVER_MODEL_IMPLEMENTATION": "naive_mlserver.Penguins",
            "MLSERVER_MODEL_URI": "{model}/model.joblib",
            "MLSERVER_PARALLEL_WORKERS": "2",
            "MLSERVER_HTTP_PORT": "{port}",
            "MLSERVER_GRPC_PORT": "{spare}",
            "MLSERVER_METRICS_PORT": "{spare}",
        },
    ),
    "mlflow": Target(
        "MLflow",
        "python {peers}/naive_mlflow.py",
        path="/invocations",
        body=lambda rows: {"dataframe_records": rows},
    ),
}
AT_HOME = ("service", "flask_hello", "wsgi_hello")  # those with the project's gunicorn.conf.py


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Server:
    """A started target; leaving its context stops all its processes."""

    def __init__(self, name: str, place: Place, model: str) -> None:
        self.target, self.port = TARGETS[name], free_port()
        folder = place.model(model)
        self.log = place.logs / f"{model}-{name}.txt"
        # Nothing of this shell but what a process cannot do without; no LOG_DIR, and bytecode is
        # written. One OpenMP thread a worker: left to themselves, naive workers are far slower.
        environment = {k: v for k, v in os.environ.items() if k in ("LANG", "TMPDIR")}
        environment |= {
            "PATH": f"{place.bin(name)}:{os.environ['PATH']}",
            "HOME": str(place.home),
            "PORT": str(self.port),
            "MODEL_DIR": str(folder),
            "WEB_CONCURRENCY": "2",
            "OMP_NUM_THREADS": "1",
        }
        # gunicorn reads any gunicorn.conf.py in its folder, and the naive one has none.
        cwd = place.project if name in AT_HOME else place.home
        if name != "service":
            environment["PYTHONPATH"] = str(HERE / "peers")
        known = {"{port}": self.port, "{model}": folder, "{peers}": HERE / "peers"}

        def filled(text: str) -> str:
            return re.sub(r"\{\w+\}", lambda at: str(known.get(at[0]) or free_port()), text)

        environment |= {k: filled(v) for k, v in self.target.variables.items()}
        first, *rest = map(filled, self.target.command.split())
        with self.log.open("ab") as log:
            self.began = time.perf_counter()
            self.process = subprocess.Popen(
                [place.bin(name) / first, *rest],
                cwd=cwd,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Ask, then force."""
        family = processes(self.pid)
        self.process.terminate()
        end = time.monotonic() + 20
        while processes(*family) and time.monotonic() < end:
            self.process.poll()  # or it stays, as a zombie
            time.sleep(0.02)
        for pid in processes(*family):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.target.path}"

    def post(self, rows: list[Row]) -> tuple[int, Any]:
        """Status and content of one request on a connection of its own."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=START_LIMIT)
        body = json.dumps(self.target.body(rows))
        try:
            connection.request("POST", self.target.path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def ready(self, row: Row) -> float:
        """Seconds from its start until it first answers a row with 200."""
        while time.perf_counter() - self.began < START_LIMIT and self.process.poll() is None:
            try:
                if self.post([row])[0] == 200:
                    return time.perf_counter() - self.began
            except (OSError, HTTPException, ValueError):
                pass  # it does not listen yet
            time.sleep(0.005)
        raise SystemExit(f"{self.target.title} does not answer; see {self.log}")

    def ask(self, rows: list[Row]) -> list[Row]:
        """Its answers; raises SystemExit where it has none."""
        status, content = self.post(rows)
        if status != 200:
            raise SystemExit(f"{self.target.title} answers {status}: {content}; see {self.log}")
        return self.target.answers(content)
