"""`train`: make the model folder again."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ..model.manifest import ModelError
from ..training import card, fit
from . import models_option


@click.command("train")
@click.option("--accept", is_flag=True, help="Keep a candidate that is below the recorded metric.")
@models_option
def command(folder: Path, accept: bool) -> None:
    """Train the model and write artifact, manifest and card."""
    try:
        manifest, estimator, split = fit.train(folder, accept=accept)
    except (fit.TrainingError, ModelError) as error:
        raise click.ClickException(str(error)) from error
    card.write(folder, manifest, estimator, split)
    title = f"{manifest.name} {manifest.version}"
    table = Table("metric", "held-out value", title=title, title_justify="left")
    for name, value in manifest.metrics.items():
        table.add_row(name, f"{value:.4f}")
    Console().print(table)
    click.echo(f"wrote {folder / manifest.artifact.file} ({manifest.artifact.bytes:,} bytes)")
