"""MLflow's own client of a scoring server: with_mlflow.py HOST:PORT CASES."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

(host, port), cases = sys.argv[1].split(":"), json.loads(Path(sys.argv[2]).read_bytes())
rows, labels = cases["rows"], cases["labels"]
client = ScoringServerClient(host, int(port))

client.ping()
client.wait_server_ready(timeout=10)
assert client.get_version()
frame = pd.DataFrame(rows)
assert client.invoke(frame).get_predictions()[0].tolist() == labels
assert client.invoke(frame.to_numpy(dtype=object).tolist())["predictions"] == labels
assert client.invoke(rows)["predictions"] == labels
for form in ("dataframe_records", "instances"):
    assert client.invoke(json.dumps({form: rows}))["predictions"] == labels
shares = client.invoke(frame, params={"predict_method": "predict_proba"})
assert (np.array(shares["predictions"]) == np.array(cases["shares"])).all()
refused = False
try:
    client.invoke(frame.rename(columns={frame.columns[0]: "nothing"}))
except Exception as error:  # it has no type of its own
    assert "BAD_REQUEST" in str(error), error
    refused = True
assert refused
print(len(rows), "rows")
