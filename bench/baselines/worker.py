"""Runs the PyTorch baselines for bench/run.mjs: one JSON request a line, one JSON answer a line.

    worker.py THREADS [cpu|cuda|cuda:N]

Ends at once where the device does not answer. On a GPU every time includes the way of the inputs there and ends when
the work is done. float32 is IEEE's, as soundspot's is: TF32 is off.

{"make": "name", "kind": "localize", "mode": "eager|channels-last|compiled", "type": "float32|bfloat16", "batch": 1}
{"make": "name", "kind": "method", "method": "lvs", "type": …, "weights": "model.safetensors", "inputs": "batch.safetensors", "options": {…}}
{"export": true, "batch": 1, "weights": "model.safetensors", "path": "model.onnx"}; with "calibration":
    "pairs.safetensors" in int8, which needs onnxruntime
{"run": "name", "times": 5}  →  {"ms": [...]}
{"terms": "name"}  →  {"losses": {…}}, one step of a method; with "gradients": "file.safetensors" also {"differences": {…}}
"""

import importlib.util
import json
import resource
import sys
import time

import torch

import methods
import reference

made = {}
device = torch.device(sys.argv[2] if len(sys.argv) > 2 else "cpu")


def synchronize():
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def inputs(batch):
    generator = torch.Generator().manual_seed(7)
    image = torch.randn(batch, 3, 224, 224, generator=generator)
    audio = torch.randn(batch, 1, 257, 501, generator=generator)
    return image, audio


def channels_last(model):
    return model.to(memory_format=torch.channels_last)


def autocast(kind):
    return torch.autocast(device.type, torch.bfloat16, enabled=kind == "bfloat16")


def localize(request):
    model = reference.Localizer().load(request["weights"]).eval().to(device)
    image, audio = inputs(request["batch"])
    if request["mode"] == "channels-last":
        model = channels_last(model)
        image = image.to(memory_format=torch.channels_last)
    if request["mode"] == "compiled":  # freezing orders memory by itself, and fails on a stem that is ordered already
        import torch._inductor.config as config

        config.freezing = True
        model = torch.compile(model)

    def run():
        with torch.no_grad(), autocast(request["type"]):
            return model(image.to(device), audio.to(device))

    return run


def train(request):
    torch.manual_seed(0)
    model = reference.Localizer().load(request["weights"]).train().to(device)
    image, audio = inputs(request["batch"])
    if request["mode"] != "eager":
        model = channels_last(model)
        image = image.to(memory_format=torch.channels_last)
    fused = request["mode"] != "eager"
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01, fused=fused)
    compute = torch.compile(reference.loss_of) if request["mode"] == "compiled" else reference.loss_of

    def run():
        optimizer.zero_grad(set_to_none=True)
        with autocast(request["type"]):
            loss = compute(model, image.to(device), audio.to(device))
        loss.backward()
        optimizer.step()
        return loss.item()

    return run


def method(request):
    torch.manual_seed(0)
    keys = ("method", "weights", "inputs", "options", "type")
    return methods.TrainingStep(*(request[key] for key in keys))


def slots(request):
    model = reference.JointSlotAttention().to(device)
    batch = request["batch"]
    image, audio = torch.randn(batch, 49, 512, device=device), torch.randn(batch, 16, 512, device=device)
    if request["backward"]:
        image.requires_grad_(), audio.requires_grad_()

    def run():
        if not request["backward"]:
            with torch.no_grad(), autocast(request["type"]):
                return model(image, audio)
        with autocast(request["type"]):
            out = model(image, audio)
        return sum(value.float().sum() for value in out.values()).backward()

    return run


def exports():
    """The types of ONNX models that the installed packages can write."""
    needed = {"float32": ["onnx", "onnxscript"], "int8": ["onnx", "onnxscript", "onnxruntime"]}
    return [type for type, names in needed.items() if all(map(importlib.util.find_spec, names))]


def export(request):
    model = reference.Localizer().load(request["weights"]).eval()
    if "calibration" in request:
        import quantized

        pairs = reference.read_safetensors(request["calibration"])
        with torch.no_grad():
            quantized.export(model, pairs["image"], pairs["audio"], request["batch"], request["path"])
        return
    torch.onnx.export(model, inputs(request["batch"]), request["path"], dynamo=True, verbose=False)


def peak_memory():
    """MiB. On Linux of this program alone: the figure of the system's usage begins with that of the parent process."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


KINDS = {"localize": localize, "train": train, "slots": slots, "method": method}


def answer(request):
    if "export" in request:
        export(request)
        return {}
    if "make" in request:
        made[request["make"]] = KINDS[request["kind"]](request)
        return {}
    if "maps" in request:
        audio, image = made[request["maps"]]()
        return {"audio": audio[:, 0].flatten().tolist(), "image": image[:, 0].flatten().tolist()}
    if "terms" in request:
        step = made[request["terms"]]
        losses = step()
        gradients = request.get("gradients")
        return {"losses": losses, **({"differences": step.differences(gradients)} if gradients else {})}
    if "drop" in request:
        del made[request["drop"]]
        return {}
    times = []
    for _ in range(request["times"]):
        synchronize()
        started = time.perf_counter()
        made[request["run"]]()
        synchronize()
        times.append(1000 * (time.perf_counter() - started))
    return {"ms": times, "peak": peak_memory()}


torch.set_num_threads(int(sys.argv[1]))
if device.type == "cuda":
    torch.zeros(1, device=device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
print(json.dumps({"torch": torch.__version__, "exports": exports()}), flush=True)
for line in sys.stdin:
    try:
        print(json.dumps(answer(json.loads(line))), flush=True)
    except Exception as error:  # reported to the caller
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
