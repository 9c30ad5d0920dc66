"""`serve`: become gunicorn, with workers and threads that fit what was granted."""

import os
import sys
from pathlib import Path

import click

from ..operations import resources
from . import models_option

CONFIG = Path("gunicorn.conf.py")


@click.command("serve")
@click.option(
    "--port",
    envvar=["AIP_HTTP_PORT", "PORT"],  # the first is Vertex AI's
    type=click.IntRange(1, 65535),
    help="Default: 8000.",
)
@click.option(
    "--invocations",
    envvar="INVOCATIONS",
    type=click.Choice(["mlflow", "sagemaker"]),
    help="Whose protocol /invocations speaks. Default: MLflow's.",
)
@models_option
def command(port: int | None, invocations: str | None, folder: Path) -> None:
    """Serve the model over HTTP until SIGTERM.

    WEB_CONCURRENCY sets the number of workers; otherwise CPUs and memory do.
    """
    if not CONFIG.exists():
        raise click.ClickException(f"{CONFIG} is not here; run this in the project's folder")
    environment = plan(dict(os.environ), folder)
    environment["MODEL_DIR"] = str(folder)
    if port:
        environment["PORT"] = str(port)
    if invocations:
        environment["INVOCATIONS"] = invocations
    package = __package__.removesuffix(".cli")
    arguments = ["-m", "gunicorn", "--config", str(CONFIG)]
    arguments += ["--worker-class", f"{package}.operations.worker.Worker"]
    arguments += [f"{package}.serving.app:from_environment()"]
    # Replaces this process, so that gunicorn is the one that gets the signals.
    os.execve(sys.executable, [sys.executable, *arguments], environment)


def plan(environment: dict[str, str], folder: Path) -> dict[str, str]:
    """The environment with workers and thread caps, where it does not have its own."""
    granted = resources.granted()
    model_bytes = sum(file.stat().st_size for file in folder.glob("*.joblib"))
    count = environment.get("WEB_CONCURRENCY") or str(resources.workers(granted, model_bytes))
    if not count.isdigit() or int(count) == 0:
        raise click.ClickException(f"WEB_CONCURRENCY={count!r}: expected a number of workers")
    threads = str(resources.threads_per_worker(granted, int(count)))
    caps = {name: environment.get(name) or threads for name in resources.THREAD_CAPS}
    return {**environment, "WEB_CONCURRENCY": count, **caps}
