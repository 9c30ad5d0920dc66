"""The command line. Each command is a file of this folder, loaded only when it is called."""

import importlib
import os
from pathlib import Path

import click

# To take a command away, delete its file and its name here.
COMMANDS = ("train", "serve", "check", "score", "drift", "doctor")


class LazyCommands(click.Group):
    """Imports a command's module on demand, so that `serve` starts without loading pandas."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of a first day."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, if there is one."""
        if cmd_name not in COMMANDS:
            return None
        ctx.obj = dict(os.environ)  # as it was given, for `doctor`
        # OpenMP's threads wait by spinning: on a busy machine that costs ten times the work itself.
        # Read when scikit-learn is loaded, so before the import. `serve` plans its own.
        if cmd_name != "serve":
            os.environ.setdefault("OMP_NUM_THREADS", "1")
        command: click.Command = importlib.import_module(f".{cmd_name}", __name__).command
        return command


@click.group(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train, serve, check and use the model of this project."""


models_option = click.option(
    "--models",
    "folder",
    envvar="MODEL_DIR",
    default="models",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The model folder, with manifest.json and the artifact.",
)
