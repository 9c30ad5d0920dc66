"""The service's settings: environment variables, read once and checked at once."""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]
Route = Annotated[str, msgspec.Meta(pattern="^/")]


class SettingsError(RuntimeError):
    """A variable has a value that is not allowed; the message names all of them."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Each field is the environment variable of the same name in capitals."""

    model_dir: str = "models"
    # auto: the compiled engine if it is proven equal; compiled: that or no start; sklearn: never.
    engine: Literal["auto", "compiled", "sklearn"] = "auto"
    # cuda: on a GPU or no start; auto: on a GPU if there is one that can, and on the CPU if not.
    model_device: Literal["cpu", "cuda", "auto"] = "cpu"
    log_dir: str = ""  # empty: stdout alone
    # A log file is renamed before it grows over this (0: never), and so many old ones are kept.
    log_max_mb: Annotated[int, msgspec.Meta(ge=0)] = 50
    log_keep: Positive = 5
    # The share of requests whose rows and answers are logged; features to leave out, or to hash.
    log_predictions: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    log_omit: str = ""
    log_hash: str = ""
    log_hash_key: str = ""
    drift_rows: Annotated[int, msgspec.Meta(ge=0)] = 5000  # that /metrics tells of; 0: none
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    max_body_mb: Positive = 16
    max_rows: Positive = 50_000
    # A worker predicts this many requests at once; others wait so long, and are told to come again.
    max_concurrent: Positive = 8
    max_wait_seconds: Annotated[float, msgspec.Meta(ge=0.1, le=20)] = 5.0

    web: Literal["on", "off"] = "on"  # the page at `/`
    # all, native, or names of serving/dialects, separated by commas.
    dialects: str = "all"
    # Whose `/invocations` it is; unset: MLflow's, if `dialects` has it.
    invocations: Literal["", "mlflow", "sagemaker"] = ""
    # Vertex AI sets these.
    aip_health_route: Route = ""
    aip_predict_route: Route = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read them, an empty variable as unset; SettingsError names every one that is wrong."""
        values: dict[str, Any] = {}
        faults = []
        for field in msgspec.structs.fields(cls):
            name = field.name.upper()
            text = environment.get(name, "")
            try:
                if text:
                    values[field.name] = msgspec.convert(text, field.type, strict=False)
            except msgspec.ValidationError as error:
                faults.append(f"{name}={text!r}: {str(error)[0].lower()}{str(error)[1:]}")
        if faults:
            raise SettingsError("; ".join(faults))
        return cls(**values)
