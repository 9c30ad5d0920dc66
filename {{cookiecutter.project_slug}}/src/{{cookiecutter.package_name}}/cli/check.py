"""`check`: load the model as a worker would, prove it, and say what was found."""

from importlib import metadata
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ..model import predictor
from ..model.manifest import ModelError
from . import models_option


@click.command("check")
@models_option
def command(folder: Path) -> None:
    """Check the model folder: manifest, digest, versions, golden rows and the fast engine."""
    try:
        model = predictor.load(folder)
        difference = model.prove()
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    # A worker takes scikit-learn's answers from training; here scikit-learn is asked once more.
    here = model.compare() if model.engine.name != "sklearn" else None
    if here and here.fault:
        raise click.ClickException(f"the {model.engine.name} engine is off: {here.fault}")
    found = model.manifest
    table = Table("what", "found", title=f"{folder}: fit to serve", title_justify="left")
    table.add_row("model", f"{found.name} {found.version}, {found.task} of {found.target.name}")
    table.add_row("trained", f"{found.created}, on {found.training.rows:,} rows")
    table.add_row("features", ", ".join(feature.name for feature in found.features))
    table.add_row("artifact", f"{found.artifact.bytes:,} bytes, sha256 {found.artifact.sha256}")
    for name, version in found.libraries.items():
        table.add_row(name, f"{metadata.version(name)}, trained with {version}")
    table.add_row("golden rows", f"{len(found.golden)}, largest difference {difference:.3g}")
    for what, about in model.engine.facts():
        table.add_row(what, about)
    if here:
        found_here = f"{here.rows} rows, largest relative difference {here.difference:.3g}"
        table.add_row("compared here", found_here)
    Console().print(table)
