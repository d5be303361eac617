"""A trained model in the ONNX format, for programs that know neither this project nor PyTorch."""

import json
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch

from spatial_reduction.networks.base import Network
from spatial_reduction.networks.model_file import load_model, require_architecture
from spatial_reduction.runtime.files import written_whole
from spatial_reduction.runtime.log import say

SAMPLE = (4, 6)  # strides along each side of the traced image; no two of its sizes are equal, none is 1


def export_model(model: str | Path, output: str | Path, classes: Sequence[str], image_size: int, colour: str) -> None:
    """Write a model as ONNX.

    Input `images`, float32 (batch, channels, height, width) in [0, 1]; output `logits`, float32 (batch, classes,
    height, width). Batch, height and width are free, the last two divisible by the property `stride`. The other
    properties (all JSON): `classes`, the names in the order of the logits; `image_size` and `colour`, how the training
    images were read.

    Raises:
        InputError: the model is damaged or does not fit.
    """
    network = load_model(model).eval()
    require_architecture(model, network, 3 if colour == "rgb" else 1, len(classes), None)
    exported = _trace(network)
    about = {"classes": list(classes), "image_size": image_size, "colour": colour, "stride": network.exported_stride}
    onnx.helper.set_model_props(exported, {key: json.dumps(value) for key, value in about.items()})
    onnx.checker.check_model(exported)
    with written_whole(output) as partial:
        partial.write_bytes(exported.SerializeToString())
    say(f"{output}: {model} as ONNX, opset {exported.opset_import[0].version}")


def _trace(network: Network) -> onnx.ModelProto:
    stride = network.exported_stride
    # An image of 24 pixels is 6 units of 4 for stride 4: what is traced holds for every multiple.
    sides = {axis: stride * torch.export.Dim(f"side_{axis}") for axis in (2, 3)}
    images = torch.rand(2, network.architecture["in_channels"], SAMPLE[0] * stride, SAMPLE[1] * stride)
    traced = torch.onnx.export(
        network,
        (images,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch"), **sides},),
        input_names=["images"],
        output_names=["logits"],
        verbose=False,
    )
    exported = traced.model_proto
    for value in (exported.graph.input[0], exported.graph.output[0]):
        for axis, name in ((0, "batch"), (2, "height"), (3, "width")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    return exported
