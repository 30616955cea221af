"""Compares reference.py with the published implementation's outputs in test/fixtures: python3 check.py.

Weights and inputs are made by the formula of test/fixtures/FORMULA.md. Ends with 1 when a map is off by more than 1e-5.
"""

import json
import math
import pathlib
import sys

import numpy as np
import torch

import reference

FIXTURE = pathlib.Path(__file__).parents[2] / "test" / "fixtures" / "reference"
SALT = json.loads((FIXTURE / "reference.json").read_text())["salt"]


def uniform(name, count):
    seed = 0x811C9DC5
    for byte in f"{SALT}:{name}".encode():
        seed = (seed ^ byte) * 0x01000193 % 2**32
    with np.errstate(over="ignore"):
        x = np.arange(count, dtype=np.uint32) + np.uint32(seed)
        x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
        x = (x ^ (x >> 15)) * np.uint32(0x846CA68B)
        x = x ^ (x >> 16)
    return (x >> 8).astype(np.float32) * np.float32(2**-23) - np.float32(1)


def tensor(name, shape, scale=1.0, offset=0.0):
    values = uniform(name, math.prod(shape)) * np.float32(scale) + np.float32(offset)
    return torch.from_numpy(values.reshape(shape))


def parameter(name, shape):
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if name.endswith("running_mean"):
        return tensor(name, shape, 0.1)
    if name.endswith("running_var"):
        return tensor(name, shape, 0.4, 1)
    if name.endswith("slots") or "mask_token" in name or "_embed" in name:
        return tensor(name, shape)
    if len(shape) >= 2:
        return tensor(name, shape, math.sqrt(3 / math.prod(shape[1:])))
    if name.endswith("bias") or "bias_" in name:
        return tensor(name, shape, 0.1)
    return tensor(name, shape, 0.1, 1)


model = reference.Localizer().eval()
model.load_state_dict({name: parameter(name, tuple(value.shape)) for name, value in model.state_dict().items()})
expected = reference.read_safetensors(FIXTURE / "reference.safetensors")
image, audio = tensor("image", (2, 3, 224, 224), 2), tensor("spectrogram", (2, 1, 257, 501))
worst = 0.0
with torch.no_grad():
    for sharpening in ("0.1", "1.0"):
        maps = dict(zip(("audio_map", "image_map"), model(image, audio, float(sharpening))))
        for name, found in maps.items():
            difference = (found[:, 0].view(2, 7, 7) - expected[f"eval.{name}.{sharpening}"]).abs().max().item()
            worst = max(worst, difference)
            print(f"{name} at sharpening {sharpening}: greatest difference {difference:.1e}")
sys.exit(0 if worst < 1e-5 else 1)
