"""Real Prometheus on the running service: alerts, and the query of each of Grafana's panels."""

import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests
from containers import run
from project import ROOT, free_port, load

MONITORING = ROOT / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana/dashboard.json").read_text(encoding="utf-8"))
ROW = {"island": "Biscoe"}
ALERTS = re.findall(r"alert: (\w+)", (MONITORING / "rules.yml").read_text(encoding="utf-8"))
needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") or os.environ.get("REQUIRE_PROMETHEUS")),
    reason="no `prometheus` here, as Debian's package of that name has it",
)


def queries():
    """The dashboard's queries by panel; without those of a room that was taken away."""
    gone = () if "drift" in load("serving.app").ROOMS else ("model_feature_psi", "model_drift_rows")
    return {
        (panel["title"], target["refId"]): target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
        if not any(name in target["expr"] for name in gone)
    }


@needs_prometheus
def test_each_alert_fires_and_keeps_silent_by_its_own_test():
    run("promtool", "check", "config", str(MONITORING / "prometheus.yml"))
    run("promtool", "test", "rules", str(MONITORING / "rules_test.yml"))
    tested = (MONITORING / "rules_test.yml").read_text(encoding="utf-8")
    for alert in ALERTS:
        assert re.search(rf"alertname: {alert} }}", tested), f"{alert} is not shown silent"
        assert re.search(rf"alertname: {alert}\n +exp_alerts:", tested), f"{alert} never fires"


@needs_prometheus
def test_promtool_has_nothing_to_say_of_the_metrics(client):
    for body in ({"instances": [ROW]}, {"instances": [{"island": 3}]}):
        client.post("/predict", json=body)
    client.post("/predict", json={"instances": [ROW | {"island": "Atlantis"}]})
    done = run("promtool", "check", "metrics", input=client.get("/metrics").text)
    assert done.stdout + done.stderr == ""


def test_each_rule_says_how_bad_it_is_and_what_to_do():
    rules = (MONITORING / "rules.yml").read_text(encoding="utf-8").split("- alert:")[1:]
    assert len(rules) == len(set(ALERTS)) >= 6
    for rule in rules:
        assert re.search(r"^ +for: \d+m$", rule, re.MULTILINE)
        assert re.search(r"^ +labels: { severity: (critical|warning) }$", rule, re.MULTILINE)
        assert re.search(r"^ +summary: '.+'\n +description: >-\n +\S", rule, re.MULTILINE)


def test_the_dashboard_is_well_formed():
    provisioned = MONITORING / "grafana/provisioning/datasources/prometheus.yml"
    assert "uid: prometheus " in provisioned.read_text(encoding="utf-8")
    panels = DASHBOARD["panels"]
    assert (
        len({panel["id"] for panel in panels}) == len({p["title"] for p in panels}) == len(panels)
    )
    for panel in panels:
        assert panel["datasource"] == {"type": "prometheus", "uid": "prometheus"}
        assert panel["targets"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    for one, two in itertools.combinations([panel["gridPos"] for panel in panels], 2):
        apart = [
            one[at] + one[size] <= two[at] or two[at] + two[size] <= one[at]
            for at, size in (("x", "w"), ("y", "h"))
        ]
        assert any(apart), (one, two)


@contextmanager
def prometheus(folder, target):
    """With the project's own configuration, one target and no patience: a function to ask it."""
    config = (MONITORING / "prometheus.yml").read_text(encoding="utf-8")
    config, changed = re.subn(
        r"dns_sd_configs:\n.*", f"static_configs: [{{targets: ['{target}']}}]", config
    )
    assert changed == 1
    (folder / "prometheus.yml").write_text(config.replace("15s", "1s"))
    rules = (MONITORING / "rules.yml").read_text(encoding="utf-8")
    (folder / "rules.yml").write_text(re.sub(r"for: \d+m", "for: 1s", rules))
    port = free_port()
    command = ["prometheus", f"--config.file={folder}/prometheus.yml"]
    command += [f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)

    def ask(path, **parameters):
        answer = requests.get(
            f"http://127.0.0.1:{port}/api/v1/{path}", params=parameters, timeout=60
        )
        assert answer.ok, answer.text
        return answer.json()["data"]

    def is_ready():
        assert process.poll() is None, (folder / "prometheus.log").read_text()
        try:
            return requests.get(f"http://127.0.0.1:{port}/-/ready", timeout=60).ok
        except requests.ConnectionError:
            return False

    try:
        wait_for(is_ready)
        yield ask
    finally:
        process.terminate()
        process.wait(60)


def wait_for(done: Callable[[], bool], seconds=60):
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, done
        time.sleep(0.2)


@needs_prometheus
def test_every_panel_has_data_and_alerts_follow_the_service(start, tmp_path, rows):
    service = start(WEB_CONCURRENCY="2", MAX_WAIT_SECONDS="1", DRIFT_ROWS="400")
    service.ready()
    host = service.url.removeprefix("http://")
    moved, stopped = threading.Event(), threading.Event()

    def traffic():
        for i in itertools.count():
            if stopped.wait(0.05):
                break
            # Rows like those of training, but for one; later one row over and over.
            usual_rows = [ROW] * 40 if moved.is_set() else rows[i % 8 :: 8]
            service.post([*usual_rows, ROW | {"island": "Atlantis"}])
            service.post([{"island": 3}])

    usual = threading.Thread(target=traffic)
    usual.start()
    name, port = host.split(":")
    try:
        with (
            prometheus(tmp_path, host) as ask,
            socket.create_connection((name, int(port))) as slow,
        ):
            slow.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")

            def firing():
                found = ask("query", query='ALERTS{alertstate="firing"}')["result"]
                return {alert["metric"]["alertname"] for alert in found}

            def without_data():
                for panel, query in queries().items():
                    found = ask("query", query=query.replace("$__rate_interval", "1m"))["result"]
                    if not found or any(one["value"][1] == "NaN" for one in found):
                        yield panel

            drift = {"Drift"} if "drift" in load("serving.app").ROOMS else ()

            def overload():
                """Requests that wait for longer than MAX_WAIT_SECONDS."""
                workers = service.workers()
                for worker in workers:
                    os.kill(worker, signal.SIGSTOP)
                with ThreadPoolExecutor(20) as pool:
                    answers = [pool.submit(service.post, [ROW]) for _ in range(20)]
                    time.sleep(1.5)
                    for worker in workers:
                        os.kill(worker, signal.SIGCONT)
                assert 503 in {answer.result().status_code for answer in answers}
                return firing() >= {"Overload", "LogFailures", *drift}

            wait_for(lambda: {panel for panel, _ in without_data()} <= {"Told to come again (503)"})
            time.sleep(4)  # some evaluations
            [group] = ask("rules")["groups"]
            assert [rule["health"] for rule in group["rules"]] == ["ok"] * len(ALERTS), group
            # A machine with much else to do may be slow.
            assert firing() - {"SlowAnswers"} == set()

            moved.set()
            service.logs.rename(tmp_path / "moved")
            wait_for(overload)
            wait_for(lambda: [*without_data()] == [])  # a stopped service was not scraped
            stopped.set()
            usual.join()
            slow.close()
            service.stop()
            wait_for(lambda: "ServiceDown" in firing())
    finally:
        stopped.set()
        usual.join()


@pytest.mark.docker
def test_compose_takes_both_files_and_hardens_every_service():
    files = ["--file", "compose.yaml", "--file", "compose.monitoring.yaml"]
    ids = os.environ | {"SERVICE_UID": "1", "SERVICE_GID": "1"}
    done = run("docker", "compose", *files, "config", "--format", "json", cwd=ROOT, env=ids)
    services = json.loads(done.stdout)["services"]
    assert services.keys() == {"api", "prometheus", "grafana"}
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        assert [port["host_ip"] for port in service["ports"]] == ["127.0.0.1"], name
        for volume in service["volumes"]:
            if volume["type"] == "bind" and name != "api":
                assert volume["read_only"]
                assert os.path.isdir(volume["source"])
        if name != "api":
            assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
            assert service["healthcheck"]["test"][0] == "CMD"
