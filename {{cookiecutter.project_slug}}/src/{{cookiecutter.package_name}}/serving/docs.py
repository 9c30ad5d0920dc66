"""`/docs`: Swagger UI of the OpenAPI document. It loads nothing from any other host.

A removable room: without this file and its name in `app.ROOMS` there is no such page.
"""

import base64
import hashlib
import re

from flask import Blueprint, Flask, Response
from flask_swagger_ui import get_swaggerui_blueprint  # type: ignore[import-untyped]

SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
POLICY = (
    "default-src 'none'; script-src 'self' '{}'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)  # the icons in its stylesheet are data: addresses
CONFIG = {
    "layout": "BaseLayout",  # no field in which to load another document
    "validatorUrl": None,  # a badge of another host
    "oauth2RedirectUrl": None,  # would write the Host header into the page's script
}


def install(app: Flask) -> None:
    """Add the page and its assets."""
    # Relative addresses, so that it also works behind a path prefix.
    docs: Blueprint = get_swaggerui_blueprint(".", "../openapi.json", config=CONFIG)

    @docs.after_request
    def secure(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        if response.mimetype == "text/html" and not response.direct_passthrough:
            script = SCRIPT.search(response.get_data())
            digest = hashlib.sha256(script.group(1) if script else b"").digest()
            allowed = f"sha256-{base64.b64encode(digest).decode()}"
            response.headers["Content-Security-Policy"] = POLICY.format(allowed)
            response.cache_control.no_cache = True
        return response

    app.register_blueprint(docs, url_prefix="/docs")
