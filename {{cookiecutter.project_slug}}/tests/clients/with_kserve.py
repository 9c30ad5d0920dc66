"""KServe's own client, both of its protocols: with_kserve.py HOST:PORT CASES."""

import asyncio
import json
import sys
from pathlib import Path

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

url, cases = f"http://{sys.argv[1]}", json.loads(Path(sys.argv[2]).read_bytes())
rows, labels, name = cases["rows"], cases["labels"], cases["name"]


async def v1():
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        assert await client.is_server_live(url)
        assert await client.is_model_ready(url, name)
        answer = await client.infer(url, {"instances": rows}, model_name=name)
        assert answer["predictions"] == labels
        refused = False
        try:
            await client.infer(url, {"instances": rows}, model_name="other")
        except httpx.HTTPStatusError as error:
            refused = "Model other not found" in str(error)
        assert refused


def tensors(binary):
    for feature in rows[0]:
        column = [row[feature] for row in rows]
        text = any(isinstance(value, str) for value in column)
        given = InferInput(feature, [len(rows)], "BYTES" if text else "FP64")
        array = np.array([v or "" for v in column], object) if text else np.array(column, float)
        given.set_data_from_numpy(array, binary_data=binary)
        yield given


async def v2():
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        assert await client.is_server_live(url)
        assert await client.is_server_ready(url)
        assert await client.is_model_ready(url, name)
        assert not await client.is_model_ready(url, "other")
        for binary in (True, False):
            outputs = [RequestedOutput("output-0", {"binary_data": binary})]
            request = InferRequest(name, [*tensors(True)], "7", request_outputs=outputs)
            answer = await client.infer(url, request, model_name=name)
            assert answer.id == "7"
            found = answer.outputs[0].as_numpy().tolist()
            assert [f.decode() if isinstance(f, bytes) else f for f in found] == labels


asyncio.run(v1())
asyncio.run(v2())
print(len(rows), "rows")
