"""Compares reference.py and methods.py with the published implementations: python3 check.py.

The maps of reference.py are compared with those in test/fixtures; weights and inputs are made by the formula of
test/fixtures/FORMULA.md. The losses of methods.py are compared with what the published functions give on small waves, in
float64. Ends with 1 when a map is off by more than 1e-5, or a loss by more than 1e-9 of its value.
"""

import json
import math
import pathlib
import sys

import numpy as np
import torch
from torch.nn import functional as F

import methods
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

def wave(function, start, step, shape):
    """function(start + step · k) over the flat index k, of length 1 along the second dimension."""
    values = torch.arange(math.prod(shape), dtype=torch.float64)
    return F.normalize(function(start + step * values).view(shape), dim=1)


def losses():
    """Name, value, and what the published function gives: 3 pairs of 4 features, images of 2 × 2 tokens."""
    images, audio = (3, 4, 2, 2), (3, 4)
    waves = {
        "image": wave(torch.sin, 1, 0.37, images),
        "audio": wave(torch.cos, 0.5, 0.91, audio),
        "where_image": wave(torch.cos, 0.2, 0.53, images),
        "where_audio": wave(torch.sin, 0.3, 0.77, audio),
    }
    shifts = {"image": 0.1, "audio": 0.1, "where_image": -0.1, "where_audio": -0.1}
    targets = {name: F.normalize(value + shifts[name], dim=1) for name, value in waves.items()}
    own, target = (
        {name: value.flatten(2).transpose(1, 2) if value.dim() == 4 else value for name, value in each.items()}
        for each in (waves, targets)
    )
    pair = own["image"], own["audio"]
    terms = methods.false_negative_terms(*pair)
    yield "triMap", methods.tri_map(*pair), 285.84652472411045
    yield "maxSimilarity", methods.max_similarity(*pair), 26.28135745774642
    yield "audioSuppression", terms["audioSuppression"], 0.4444619788391501
    yield "foregroundSeparation", terms["foregroundSeparation"], 0.42716630824280005
    yield "imageSuppression", terms["imageSuppression"], 0.45961420667202824
    yield "twoHeads", methods.two_heads(own, target), 42.84384859617241


worst_loss = 0.0
for name, value, published in losses():
    difference = abs(value.item() / published - 1)
    worst_loss = max(worst_loss, difference)
    print(f"{name}: relative difference {difference:.1e}")
sys.exit(0 if worst < 1e-5 and worst_loss < 1e-9 else 1)
