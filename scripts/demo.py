"""From nothing to real predictions: generate, install, serve, ask, show, stop.

Run by `make demo`, with the generated project's own commands. KEEP=1 leaves the service running
until Ctrl-C.
"""

import csv
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests
from cookiecutter.main import cookiecutter
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
PROJECT = ROOT / "build" / "penguin-service"
PORT = os.environ.get("PORT") or "8000"
URL = f"http://127.0.0.1:{PORT}"
LOG = PROJECT / "logs/demo.txt"
FEATURES = ("island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex")
PICKED = (0, 3, 220, 280)  # rows of the data: one of each species, and one with missing values
ODD = {"island": "Atlantis", "bill_length_mm": 44.0, "body_mass_g": 99_000}
BAD = {"island": "Biscoe", "bill_lenght_mm": 44.0, "sex": 1}


def penguins() -> list[tuple[dict[str, object], str]]:
    """Rows as a client sends them, each with its true species."""
    with (PROJECT / "data/penguins.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = []
    for i in PICKED:
        row: dict[str, object] = {}
        for name in FEATURES:
            text = rows[i][name]
            number = name not in ("island", "sex")
            row[name] = None if text == "NA" else float(text) if number else text
        found.append((row, rows[i]["species"]))
    return found


def answers() -> bool:
    """Whether anything listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(PORT))) == 0


def wait(service: subprocess.Popen[bytes]) -> None:
    """Until the service is ready, or has ended."""
    while service.poll() is None:
        try:
            if requests.get(f"{URL}/health/ready", timeout=2).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    sys.exit(f"the service ended with exit code {service.returncode}; see {LOG}")


def ask(console: Console) -> None:
    """Send real requests and show the answers."""
    table = Table("sent", "true", "predicted", "probability", "flags", title=f"POST {URL}/predict")
    known = [*penguins(), (ODD, "?")]
    answer = requests.post(
        f"{URL}/predict", json={"instances": [row for row, _ in known]}, timeout=10
    )
    answer.raise_for_status()
    for (row, species), got in zip(known, answer.json()["predictions"], strict=True):
        sent = ", ".join("null" if value is None else f"{value}" for value in row.values())
        share = max(got["probabilities"].values())
        flags = ", ".join(f"{flag['feature']}: {flag['flag']}" for flag in got["flags"])
        table.add_row(sent, species, got["label"], f"{share:.4f}", flags)
    console.print(table)
    refused = requests.post(f"{URL}/predict", json={"instances": [BAD]}, timeout=10)
    console.print(
        f"\nA bad row is refused ({refused.status_code}), with every fault and its place:"
    )
    for fault in refused.json()["errors"]:
        console.print(f"  {fault['loc']}: {fault['msg']}", highlight=False)


def main() -> None:
    """The demo."""
    console, began = Console(), time.monotonic()
    if answers():
        sys.exit(f"port {PORT} is taken; another one: PORT=9000 make demo")
    cookiecutter(str(ROOT), no_input=True, overwrite_if_exists=True, output_dir=ROOT / "build")
    console.print("[bold]make install[/bold] in build/penguin-service ...")
    subprocess.run(["make", "--no-print-directory", "install"], cwd=PROJECT, check=True)
    console.print(f"[bold]make serve[/bold] on {URL} ...")
    log = LOG.open("w")
    serve = ["make", "--no-print-directory", "serve", f"PORT={PORT}"]
    service = subprocess.Popen(serve, cwd=PROJECT, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait(service)
        ask(console)
        console.print(f"\nFrom nothing to predictions in {time.monotonic() - began:.0f} s.")
        if os.environ.get("KEEP"):
            console.print(f"Serving on {URL}; Ctrl-C stops it. The log is {LOG}")
            service.wait()
    except KeyboardInterrupt:
        pass
    finally:
        service.terminate()
        service.wait()
    if answers():
        sys.exit(f"something still listens on port {PORT}")
    console.print("Stopped. `KEEP=1 make demo` leaves it serving; the project is in build/.")


if __name__ == "__main__":
    main()
