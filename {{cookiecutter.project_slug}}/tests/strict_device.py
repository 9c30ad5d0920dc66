"""Linear models on a simulated device, in a process of its own: SciPy reads a variable at import.

Prints what came of each pipeline, for test_device.py.
"""

import json
import warnings

import array_api_strict as strict
import numpy as np
from devices import LINEAR
from project import load
from table import fitted, perturbed, plan_of

warnings.simplefilter("ignore")  # of scikit-learn, about made-up data
device, proof = load("model.device"), load("model.compiled.proof")
FAR, NEAR = strict.Device("device1"), strict.Device("CPU_DEVICE")  # NumPy reads the second alone
device.gpu.find = lambda: device.gpu.Device(
    "simulated",
    "cpu",
    lambda array: strict.asarray(array, device=FAR),
    lambda array: np.asarray(strict.asarray(array, device=NEAR)),
)
found = {}
for name, (target, *steps) in LINEAR.items():
    model = fitted(target, *steps, device="cuda")
    model.prove()
    batch = proof.sure(plan_of(model), perturbed(2000, seed=5))
    verdict = proof.compare(model.reference.answer(batch), model.answer(batch))
    found[name] = (model.engine.device_steps, verdict.fault, verdict.difference)
print(json.dumps(found))
