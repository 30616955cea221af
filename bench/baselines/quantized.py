"""The model of reference.py in ONNX with int8 convolutions, made by ONNX Runtime's own static quantization.

The same convolutions as in soundspot: those of the residual blocks, with int8 weights for each output channel and uint8
activations. Batch norm is folded in first; the additions and ReLUs between them are quantized too.
"""

import os
import tempfile

import onnx
import torch
from onnxruntime import quantization
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def folded(model):
    for encoder in (model.imgnet, model.audnet):
        stem = "conv1" if encoder.image else "conv1_1"
        setattr(encoder, stem, fuse_conv_bn_eval(getattr(encoder, stem), encoder.bn1))
        encoder.bn1 = nn.Identity()
        for block in (block for stage in range(1, 5) for block in getattr(encoder, f"layer{stage}")):
            block.conv1, block.bn1 = fuse_conv_bn_eval(block.conv1, block.bn1), nn.Identity()
            block.conv2, block.bn2 = fuse_conv_bn_eval(block.conv2, block.bn2), nn.Identity()
            if block.downsample is not None:
                block.downsample = fuse_conv_bn_eval(*block.downsample)
    return model


def residual_nodes(graph):
    """Names of the residual blocks' convolutions, additions and ReLUs."""
    shapes = {weight.name: list(weight.dims) for weight in graph.initializer}

    def quantized(node):
        if node.op_type != "Conv":
            return False
        size = shapes[node.input[1]][2]
        strides = next(list(each.ints) for each in node.attribute if each.name == "strides")
        return size == 3 or (size == 1 and strides == [2, 2])  # neither stem nor projection

    convolutions = [node for node in graph.node if quantized(node)]
    made = {node.output[0] for node in convolutions}
    additions = [node for node in graph.node if node.op_type == "Add" and made & set(node.input)]
    made |= {node.output[0] for node in additions}
    relus = [node for node in graph.node if node.op_type == "Relu" and node.input[0] in made]
    return [node.name for node in (*convolutions, *additions, *relus)]


class Batches(quantization.CalibrationDataReader):
    def __init__(self, names, images, spectrograms, batch):
        pairs = zip(images.split(batch), spectrograms.split(batch))
        self.batches = iter([dict(zip(names, pair)) for pair in pairs if len(pair[0]) == batch])

    def get_next(self):
        batch = next(self.batches, None)
        return batch and {name: value.numpy() for name, value in batch.items()}


def export(model, images, spectrograms, batch, path):
    """Calibrated with `images` [N, 3, 224, 224] and `spectrograms` [N, 1, 257, 501] in batches, the size of the graph."""
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "float32.onnx")
        torch.onnx.export(
            folded(model), (images[:batch], spectrograms[:batch]), file, dynamo=True, verbose=False
        )
        graph = onnx.load(file).graph
        quantization.quantize_static(
            file,
            path,
            Batches([each.name for each in graph.input], images, spectrograms, batch),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            nodes_to_quantize=residual_nodes(graph),
        )
