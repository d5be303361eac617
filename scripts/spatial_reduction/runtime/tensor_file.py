"""How weights lie in a file: safetensors (never a pickle), with a checksum that tells a flipped bit."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import written_whole


def save_tensors(path: str | Path, tensors: Mapping[str, torch.Tensor], description: Mapping[str, Any]) -> None:
    """Write named tensors with a description (plain JSON), whole; equal arguments give equal bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One key only: safetensors writes several in random order.
    metadata = {"description": json.dumps({**description, "digest": _digest(tensors, description)})}
    with written_whole(path) as partial:
        partial.write_bytes(save(tensors, metadata=metadata))


def load_tensors(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors and the description that `save_tensors` wrote.

    Raises:
        InputError: the file is damaged, or its tensors are not those that were written.
    """
    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads((file.metadata() or {})["description"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
            expected = description.pop("digest")
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path}: not a file of tensors of this workflow ({str(error).splitlines()[0]})") from error
    if _digest(tensors, description) != expected:
        raise InputError(f"{path}: its tensors are not those that were written (the digest differs)")
    return tensors, description


def read_description(path: str | Path) -> dict[str, Any]:
    """Return the description alone; nothing is read of the tensors, so damage to them is not seen.

    Raises:
        InputError: the file has none that can be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(json.loads((file.metadata() or {})["description"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path}: not a file of tensors of this workflow ({str(error).splitlines()[0]})") from error


def _digest(tensors: Mapping[str, torch.Tensor], description: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy() if tensor.numel() else b"")
    return digest.hexdigest()
