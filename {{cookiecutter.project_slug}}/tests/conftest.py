"""Fixtures: a copy of the model folder, an app in this process, and a live service."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pytest
import requests
from clientele import environment
from project import COMMAND, ROOT, free_port, load
from sklearn.linear_model import LinearRegression

MODELS = ROOT / "models"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the model folder that a test may break."""
    return Path(shutil.copytree(MODELS, tmp_path / "models"))


@pytest.fixture
def edit(folder: Path) -> Callable[..., Path]:
    """Change the copied manifest: edit(lambda manifest: ...) returns the folder."""

    def change(alter: Callable[[dict[str, Any]], object]) -> Path:
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text(encoding="utf-8"))
        alter(manifest)
        path.write_text(json.dumps(manifest), encoding="utf-8")
        return folder

    return change


@pytest.fixture
def folder_of(tmp_path: Path, edit: Callable[..., Path]) -> Callable[..., Path]:
    """A model folder made by hand: folder_of(estimator, part of the manifest=..., ...)."""

    def make(estimator: Any, **parts: Any) -> Path:
        def alter(manifest: dict[str, Any]) -> None:
            joblib.dump(estimator, tmp_path / "models/model.joblib")
            digest = hashlib.sha256((tmp_path / "models/model.joblib").read_bytes()).hexdigest()
            manifest |= parts
            manifest["artifact"]["sha256"] = digest

        return edit(alter)

    return make


@pytest.fixture
def regression(folder_of: Callable[..., Path]) -> Path:
    """A model folder of another kind: price = 3 * area + 10."""
    area = {"name": "area", "type": "number", "description": "", "minimum": 0, "maximum": 1}
    return folder_of(
        LinearRegression().fit(pd.DataFrame({"area": [0.0, 1.0]}), [10.0, 13.0]),
        task="regression",
        features=[area],
        golden=[{"input": {"area": 1}, "output": {"label": 13.0, "flags": []}}],
        baseline={},
        target={"name": "price"},
    )


@pytest.fixture
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a person runs the commands, with a port that is free."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PORT", str(free_port()))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="session")
def predictor() -> Any:
    return load("model.predictor").load(MODELS)


@pytest.fixture
def app(predictor: Any) -> Any:
    """The app around the shipped model, ready."""
    app = load("serving.app").create_app(load("serving.settings").Settings(), predictor)
    app.extensions["readiness"].start()
    return app


@pytest.fixture(scope="session")
def clients() -> Path:
    """The interpreter with other servers' clients."""
    return environment()


@pytest.fixture
def client_of(predictor: Any) -> Callable[..., Any]:
    """A client of an app, ready, with other settings: client_of(dialects="v2", ...)."""

    def make(model: Any = predictor, **settings: Any) -> Any:
        app = load("serving.app").create_app(load("serving.settings").Settings(**settings), model)
        app.extensions["readiness"].start()
        return app.test_client()

    return make


@pytest.fixture
def client(app: Any) -> Any:
    return app.test_client()


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    """The example's data."""
    return pd.read_csv(ROOT / "data/penguins.csv")


@pytest.fixture(scope="session")
def rows(table: pd.DataFrame, predictor: Any) -> list[dict[str, Any]]:
    """The data's rows as a client sends them: a missing value is None."""
    features = table[[feature.name for feature in predictor.manifest.features]]
    return json.loads(features.to_json(orient="records", double_precision=15))


@dataclass
class Service:
    """`model-service serve` as a process."""

    process: subprocess.Popen[str]
    url: str
    logs: Path
    output: Path

    def post(self, instances: Any, **kwargs: Any) -> requests.Response:
        body = {"instances": instances}
        return requests.post(f"{self.url}/predict", json=body, timeout=60, **kwargs)

    def ready(self, seconds: float = 60) -> requests.Response:
        """Wait for readiness; fails with the service's own output."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                answer = requests.get(f"{self.url}/health/ready", timeout=5)
                if answer.ok:
                    return answer
            except requests.RequestException:
                pass
            time.sleep(0.05)
        pytest.fail(f"not ready: exit code {self.process.poll()}\n{self.output.read_text()}")

    def workers(self) -> set[int]:
        """The process ids of gunicorn's workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return {*map(int, children.read_text().split())}

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start a service: start(WEB_CONCURRENCY="1", ...); it is stopped with the test."""
    started: list[Service] = []

    def run(**environment: str) -> Service:
        port = free_port()
        logs, output = tmp_path / "logs", tmp_path / f"output-{port}.txt"
        logs.mkdir(exist_ok=True)
        fixed = {"PORT": str(port), "LOG_DIR": str(logs), "MODEL_DIR": str(MODELS)}
        with output.open("w") as file:
            process = subprocess.Popen(
                [COMMAND, "serve"],
                cwd=ROOT,
                env=os.environ | fixed | environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )
        started.append(Service(process, f"http://127.0.0.1:{port}", logs, output))
        return started[-1]

    yield run
    for service in started:
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait()


def chromium() -> str | None:
    """The browser of this machine, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def docker_answers() -> bool:
    try:
        return subprocess.run(["docker", "version"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests whose program is missing; REQUIRE_DOCKER=1, REQUIRE_BROWSER=1: they fail there."""
    missing = {
        "docker": (docker_answers, "no container engine answers to `docker`"),
        "browser": (chromium, "there is no Chromium"),
    }
    for mark, (found, reason) in missing.items():
        marked = [item for item in items if item.get_closest_marker(mark)]
        if marked and not os.environ.get(f"REQUIRE_{mark.upper()}") and not found():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))
