"""NVIDIA's tritonclient: with_triton.py HOST:PORT CASES."""

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.http as triton

address, cases = sys.argv[1], json.loads(Path(sys.argv[2]).read_bytes())
rows, labels, shares = cases["rows"], cases["labels"], np.array(cases["shares"])
name, classes = cases["name"], shares.shape[1]
client = triton.InferenceServerClient(address)

assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready(name)
assert client.is_model_ready(name, cases["version"])
assert not client.is_model_ready("other")
assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
about = client.get_model_metadata(name, cases["version"])
assert [index["name"] for index in client.get_model_repository_index()] == [name]


def tensors(binary, kinds=None):
    """A tensor for each feature, as the metadata has them."""
    for tensor in about["inputs"]:
        kind = (kinds or {}).get(tensor["name"], tensor["datatype"])
        column = [row[tensor["name"]] for row in rows]
        if kind == "BYTES":
            array = np.array([value or "" for value in column], object)
        else:
            array = np.array(column, triton.triton_to_np_dtype(kind))
        given = triton.InferInput(tensor["name"], [len(rows)], kind)
        given.set_data_from_numpy(array, binary_data=binary)
        yield given


def check(answer, probabilities=True):
    found = answer.as_numpy("predict").tolist()
    assert [f.decode() if isinstance(f, bytes) else f for f in found] == labels
    if probabilities:
        assert (answer.as_numpy("predict_proba") == shares).all()


def asked(*names, binary):
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


for packing in (None, "gzip", "deflate"):
    options = {
        "request_compression_algorithm": packing,
        "response_compression_algorithm": packing,
    }
    check(client.infer(name, [*tensors(binary=True)], **options))
    for binary in (True, False):
        outputs = asked("predict", "predict_proba", binary=binary)
        check(client.infer(name, [*tensors(binary=True)], outputs=outputs, **options))
        only = asked("predict", binary=binary)
        check(client.infer(name, [*tensors(True)], outputs=only, **options), probabilities=False)
# Its JSON has no null, so rows without missing values.
whole = [i for i, row in enumerate(rows) if None not in row.values()]
rows, labels, shares = [rows[i] for i in whole], [labels[i] for i in whole], shares[whole]
answer = client.infer(name, [*tensors(binary=False)], request_id="7")
check(answer)
assert answer.get_response()["id"] == "7"
assert answer.get_response()["model_version"] == cases["version"]
single = {i["name"]: "FP32" for i in about["inputs"] if i["datatype"] == "FP64"}
check(client.infer(name, [*tensors(True, single)], outputs=asked("predict", binary=False)), False)
for kinds in (dict.fromkeys(single, "FP16"), dict.fromkeys(single, "BOOL")):
    try:
        client.infer(name, [*tensors(True, kinds)])
    except triton.InferenceServerException as error:
        assert "BOOL" in kinds.values(), error
        assert "fault" in error.message()
refused = False
try:
    client.infer("other", [*tensors(binary=True)])
except triton.InferenceServerException as error:
    refused = error.message() == "Model other not found"
assert refused
print(len(rows), "rows")
