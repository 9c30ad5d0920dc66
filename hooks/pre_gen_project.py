"""Refuses answers that would make a broken project: all faults at once, each with its cure."""

import json
import keyword
import re
import sys

# What the project installs or imports: a package of the same name would hide it.
# tests/test_hooks.py compares this with the requirement locks.
TAKEN = frozenset(
    """
    array_api_strict ast_serialize blinker certifi charset_normalizer click cloudpickle colorama
    contourpy cuda cuda_bindings cuda_pathfinder cuda_toolkit cupy cupy_cuda13x cupyx cycler
    dateutil flask flask_swagger_ui flit_core fonttools google googleapis_common_protos gunicorn
    hypothesis idna iniconfig itsdangerous jinja2 joblib kiwisolver libnvforest libnvforest_cu13
    libraft libraft_cu13 librmm librmm_cu13 librt markdown_it markdown_it_py markupsafe matplotlib
    mdurl mpl_toolkits msgspec mypy mypy_extensions mypyc narwhals numpy nvforest nvforest_cu13
    nvidia nvidia_cublas nvidia_cuda_nvrtc nvidia_cuda_runtime nvidia_cufft nvidia_curand
    nvidia_cusolver nvidia_cusparse nvidia_nvjitlink opentelemetry opentelemetry_api
    opentelemetry_exporter_http_transport opentelemetry_exporter_otlp_common
    opentelemetry_exporter_otlp_proto_common opentelemetry_exporter_otlp_proto_http
    opentelemetry_proto opentelemetry_sdk opentelemetry_semantic_conventions packaging pandas
    pathspec pillow pip pkg_resources pluggy prometheus_client protobuf py pyarrow pygments pylab
    pylibraft pylibraft_cu13 pyparsing pytest python_dateutil python_json_logger pythonjsonlogger
    rapids_logger requests rich rmm rmm_cu13 ruff scikit_learn scipy setuptools sklearn
    sortedcontainers threadpoolctl treelite typing_extensions tzdata urllib3 uv werkzeug
    """.split()
)
# Folders of the project, and its command.
OURS = frozenset(
    "data deploy logs model_service models monitoring requirements scripts tests".split()
)
PORTS = range(1024, 65536)


def name_faults(key, value):
    """Faults of a slug or a package name; `value` is its form with underscores."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", value):
        yield (
            f"{key} must be at least two of the letters a-z, digits and single separators, start "
            f"with a letter and not end with a separator: for example penguin_service"
        )
    elif keyword.iskeyword(value) or keyword.issoftkeyword(value):
        yield f"{key} is a word of the Python language: add one, as in {value}_service"
    elif value in sys.stdlib_module_names:
        yield f"{key} would hide Python's own module {value}: add a word, as in {value}_service"
    elif value in TAKEN:
        yield f"{key} would hide the dependency {value}: add a word, as in {value}_service"
    elif value in OURS:
        yield f"{key} is a name used inside the project: add a word, as in {value}_service"


def faults(answers):
    """Every fault of the answers, each a sentence that says how to mend it."""
    for key in ("project_name", "description", "author_name", "author_email"):
        value = answers[key]
        if not value.strip():
            yield f"{key} is empty: give at least one word"
        elif not value.isprintable():
            yield f"{key} holds a line break or another control character: give one plain line"
    slug, package = answers["project_slug"], answers["package_name"]
    if len(slug) > 63:
        yield f"project_slug has {len(slug)} letters: image and host names end at 63"
    if "_" in slug or "--" in slug:
        yield f"project_slug {slug!r} is a folder and image name: part its words by single hyphens"
    else:
        yield from name_faults(f"project_slug {slug!r}", slug.replace("-", "_"))
    yield from name_faults(f"package_name {package!r}", package)
    if not re.fullmatch(r"[^@\s<>\"\\]+@[^@\s<>\"\\]+", answers["author_email"]):
        yield f"author_email {answers['author_email']!r} is no address: for example me@example.com"
    port = answers["port"]
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) not in PORTS:
        yield f"port {port!r} is out of range: give a number from {PORTS[0]} to {PORTS[-1]}"


def main():
    answers = json.loads(r"""{{ cookiecutter | jsonify }}""")
    found = list(faults(answers))
    if found:
        print("The project cannot be generated:", file=sys.stderr)
        for fault in found:
            print(f"  - {fault}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
