"""gunicorn's settings for the bare services: the generated service's own, without its hooks."""

import inspect
import runpy

settings = runpy.run_path("gunicorn.conf.py")
globals().update({k: v for k, v in settings.items() if not inspect.isfunction(v)})
