"""`doctor`: what is granted here, what the service makes of it, and what is wrong."""

import os
import platform
import socket
import urllib.request
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ..model import predictor
from ..model.manifest import ModelError
from ..operations import resources
from ..serving import health
from ..serving.settings import Settings, SettingsError
from . import models_option, serve


def log_faults(folder: Path) -> list[str]:
    """Why the log folder cannot be written."""
    if os.access(folder, os.W_OK | os.X_OK):
        return []
    what = "cannot be written" if folder.exists() else "is not there"
    return [f"LOG_DIR={folder} {what}; `make init` makes it and gives it to you"]


def port_faults(host: str, port: str) -> list[str]:
    """Why the service cannot listen on the port, unless it does so already."""
    try:
        with socket.create_server((host, int(port))):
            return []
    except (OSError, ValueError, OverflowError) as error:
        live = f"http://127.0.0.1:{port}/health/live"
        with suppress(OSError, ValueError), urllib.request.urlopen(live, timeout=2) as answer:
            return [] if answer.read() == health.LIVE else [f"PORT={port}: another server is there"]
        return [f"PORT={port}: {error}"]


def model_faults(folder: Path, table: Table) -> list[str]:
    """Load the model and run its golden rows; what was found goes into the table."""
    before = resources.resident()
    try:
        settings = Settings.from_environment()
        model = predictor.load(folder, settings.engine, settings.model_device)
        model.prove()
    except (ModelError, SettingsError) as error:
        return [str(error)]
    about, now = model.manifest, resources.resident()
    table.add_row("model", f"{about.name} {about.version}, {len(about.golden)} golden rows pass")
    for what, found in model.engine.facts():
        table.add_row(what, found)
    size = f"{now / resources.MIB:,.0f} MiB, {(now - before) / resources.MIB:,.0f} of it the model"
    table.add_row("memory a worker", size)
    faults = []
    for name, trained in about.libraries.items():
        here = metadata.version(name)
        table.add_row(name, here)
        if here != trained:
            faults.append(f"{name} is {here}, the model was trained with {trained}; `make install`")
    return faults


@click.command("doctor")
@models_option
@click.pass_obj
def command(given: dict[str, str], folder: Path) -> None:
    """Show CPUs, threads, memory and versions, and name what is wrong (exit code 1)."""
    granted, planned = resources.granted(), serve.plan(given, folder)
    workers, threads = planned["WEB_CONCURRENCY"], planned["OMP_NUM_THREADS"]
    why = "WEB_CONCURRENCY" if given.get("WEB_CONCURRENCY") else "by CPUs and memory"
    memory = f"{granted.memory / resources.MIB:,.0f} MiB" if granted.memory else "no limit"
    table = Table("what", "found", title="The service here", title_justify="left")
    table.add_row("CPUs", f"{granted.cpus:g} granted, {os.cpu_count()} in the machine")
    table.add_row("memory", memory)
    table.add_row("workers", f"{workers} ({why})")
    for name in resources.THREAD_CAPS:
        table.add_row(name, planned[name])
    table.add_row("Python", platform.python_version())
    wrong = model_faults(folder, table)
    wrong += port_faults(given.get("HOST", "127.0.0.1"), given.get("PORT", "8000"))
    try:
        log_dir = Settings.from_environment().log_dir
        wrong += log_faults(Path(log_dir)) if log_dir else []
        if int(workers) * int(threads) > max(1, granted.cpus):
            wrong.append(f"{workers} workers of {threads} threads each are more than the CPUs")
    except (SettingsError, ValueError) as error:
        wrong.append(str(error))
    console = Console()
    console.print(table)
    for fault in wrong:
        console.print(f"[red]wrong:[/red] {fault}", soft_wrap=True)
    console.print("" if wrong else "[green]Nothing is wrong.")
    raise SystemExit(1 if wrong else 0)
