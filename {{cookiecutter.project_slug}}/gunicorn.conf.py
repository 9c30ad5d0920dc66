"""gunicorn's settings. `model-service serve` sets WEB_CONCURRENCY and the thread caps first.

https://gunicorn.org/reference/settings/ explains each.
"""

import gc
import itertools
import os
import shutil
import signal
import tempfile

from gunicorn.glogging import Logger

bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"

# NumPy and OpenMP take the size of their pools from these when they are loaded. Left unset,
# each worker starts a thread a core, and throughput falls to a fiftieth.
for cap in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(cap, "1")

# `model-service serve` sets its own, operations/worker.py, which answers plain predictions without
# these threads.
worker_class = "gthread"
# More than MAX_CONCURRENT, so that probes are answered while all slots predict.
threads = 10
# Queued and idle connections; below 1,024 open files, which is many systems' limit.
worker_connections = 512
keepalive = 75  # longer than the 60 s after which most load balancers drop an idle connection

# The model is loaded once and its memory shared; a bad model fails the start, not a request.
# Off on a GPU: a CUDA context does not survive the fork.
preload_app = os.environ.get("PRELOAD", "1") == "1"
# The workers' heartbeat must not wait for a disk, and the root file system is read-only.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
# A socket that can stop the server, on by default, and it needs a writable home.
control_socket_disable = True

timeout = 60
# Longest request < this < the 35 s that compose waits before it kills.
graceful_timeout = 25

json_lines = {
    "()": "pythonjsonlogger.msgspec.MsgspecFormatter",
    "fmt": ["levelname", "name", "message"],
    "rename_fields": {"levelname": "level", "name": "logger"},
    "timestamp": "time",
}
stdout = {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": json_lines},
    "handlers": {"stdout": stdout},
    "root": {"handlers": ["stdout"], "level": "INFO"},
    "loggers": {"gunicorn.error": {"propagate": True}},
}


class logger_class(Logger):  # noqa: N801 (the setting's name)
    """No access log of gunicorn's own: serving/access.py writes a line a request.

    With `logconfig_dict` gunicorn formats one for every request, even if nothing takes it, and
    that is a quarter of a prediction's time.
    """

    def access(self, resp, req, environ, request_time):
        pass


# Where workers put their counts for /metrics: memory, and gone with the service.
os.environ["METRICS_DIR"] = tempfile.mkdtemp(prefix="metrics-", dir=worker_tmp_dir)


def pre_fork(server, worker):
    """Leave what was loaded out of garbage collection, whose marks would copy shared pages.

    And give the worker the lowest free number: with it, its forerunner's counts.
    """
    gc.freeze()
    taken = {other.slot for other in server.WORKERS.values()}
    worker.slot = next(i for i in itertools.count() if i not in taken)
    os.environ["WORKER_SLOT"] = str(worker.slot)


def on_exit(server):
    """Remove the counts."""
    shutil.rmtree(os.environ["METRICS_DIR"], ignore_errors=True)


def post_worker_init(worker):
    """Prove the model in this worker, and let readiness fail as soon as it is told to stop."""
    # gunicorn keeps up to `worker_connections - threads` idle connections alive, and overshoots
    # by those that end at the same time: with the bound reached, it takes no new one for 75 s.
    worker.max_keepalived = worker_connections // 2
    for volume in worker.wsgi.extensions.get("volumes", ()):
        volume.start()
    readiness = worker.wsgi.extensions["readiness"]
    readiness.start()
    if totals := worker.wsgi.extensions.get("totals"):
        totals.start()  # so that what hangs in its first request is seen, too
    stop = signal.getsignal(signal.SIGTERM)

    def drain(signum, frame):
        readiness.drain()
        stop(signum, frame)

    signal.signal(signal.SIGTERM, drain)
    signal.siginterrupt(signal.SIGTERM, False)
