"""`/`: a page to try the model, made from its manifest and card. It loads nothing from elsewhere.

A removable room: without this folder and its name in `app.ROOMS` there is no such page.
"""

from itertools import takewhile
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, abort, current_app, g, render_template, request
from msgspec import to_builtins
from werkzeug.routing import Rule

from ...model.cells import BOOLEANS, MISSING
from ...model.manifest import Manifest
from ..settings import Settings
from . import card

FILES = {"style.css": "text/css", "script.js": "text/javascript", "icon.svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
# Linked from the page where they are there.
LINKS = {"/docs/": "API", "/model": "Manifest", "/metrics": "Metrics"}


def kept(body: str | bytes, kind: str) -> Response:
    """What a browser keeps, but asks for again."""
    response = Response(body, mimetype=kind)
    response.add_etag()
    response.cache_control.no_cache = True
    response.make_conditional(request)
    return response


def other(app: Flask) -> Rule | None:
    """The rule of a dialect for the same path: KServe's and Vertex AI's clients ask it, too."""
    rules = (rule for rule in app.url_map.iter_rules() if rule.endpoint != "web.page")
    return next((r for r in rules if r.rule == "/" and "GET" in (r.methods or ())), None)


def facts(about: Manifest, settings: Settings, v2: bool) -> dict[str, Any]:
    """What the script knows of the model and of the service."""
    features = to_builtins(about.features)
    example = {feature.name: feature.example for feature in about.features}
    # Training's golden rows begin with real ones; from the example on they are made up.
    real = takewhile(lambda golden: golden.input != example, about.golden)
    return {
        "model": about.name,
        "target": about.target.name,
        "features": features,
        "rows": [golden.input for golden in real],
        "missing": sorted(MISSING),
        "booleans": BOOLEANS,
        "max_rows": settings.max_rows,
        "max_bytes": settings.max_body_mb * 1024**2,
        "v2": v2,
    }


def number(value: float) -> str:
    """As a person writes it."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else str(value)


def install(app: Flask) -> None:
    """Add the page and what it loads, unless WEB=off."""
    settings: Settings = app.extensions["settings"]
    about: Manifest = app.extensions["native"].predictor.manifest
    if settings.web == "off":
        return
    web = Blueprint("web", __name__, template_folder=".")
    here, (text, images) = Path(__file__).parent, card.read(Path(settings.model_dir))
    files = {name: (here / name).read_bytes() for name in FILES}

    @web.get("/")
    def page() -> Any:
        offered = request.accept_mimetypes.best_match(["application/json", "text/html"])
        rule = other(current_app)
        if rule and offered != "text/html":
            # So that headers, logs and metrics are those of whom it went to.
            request.url_rule = rule
            g.route = rule.rule, request.blueprint or ""
            return current_app.view_functions[rule.endpoint]()
        paths = {rule.rule for rule in current_app.url_map.iter_rules()}
        html = render_template(
            "page.html",
            about=about,
            card=text,
            facts=facts(about, settings, "v2" in current_app.blueprints),
            links={path[1:]: name for path, name in LINKS.items() if path in paths},
            number=number,
        )
        return kept(html, "text/html")

    @web.get("/web/<name>")
    def file(name: str) -> Response:
        if name not in files:
            abort(404)
        return kept(files[name], FILES[name])

    @web.get("/web/card/<name>")
    def image(name: str) -> Response:
        if name not in images:
            abort(404)
        return kept(images[name], "image/png")

    @web.after_request
    def secure(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    @app.after_request
    def vary(response: Response) -> Response:
        if request.path == "/":
            response.vary.add("Accept")
        return response

    app.register_blueprint(web)
