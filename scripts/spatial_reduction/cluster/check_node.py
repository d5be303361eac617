"""Look at the machine that a training would run on: its software, its GPU, its view of the data."""

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from spatial_reduction.data.layouts import list_pairs
from spatial_reduction.runtime.device import choose_device, device_name
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import written_whole


def check_node(dataset: Mapping[str, Any], device: str, asks_gpu: bool, output: str | Path) -> None:
    """Write what was found, and what would go wrong; problems do not fail this job, so that all are seen at once.

    Args:
        dataset, device: the sections `dataset` and `training.device` of the configuration.
        asks_gpu: whether the job asked for one.
        output: JSON {host, findings: [...], problems: [...]}.
    """
    findings, problems = [f"Python {platform.python_version()}, torch {torch.__version__}"], []
    for check in (lambda: _see_device(device, asks_gpu), lambda: _see_data(dataset)):
        try:
            findings.append(check())
        except (InputError, RuntimeError, OSError) as error:
            problems.append(str(error))
    host = os.environ.get("SLURMD_NODENAME", platform.node())
    found = {"host": host, "findings": [f"{host}: {finding}" for finding in findings], "problems": problems}
    with written_whole(output) as partial:
        partial.write_text(json.dumps(found))


def _see_device(device: str, asks_gpu: bool) -> str:
    where = choose_device(device)
    if asks_gpu and where.type == "cpu" and "SLURM_JOB_ID" in os.environ:
        raise InputError(
            f"a GPU was asked for, and torch {torch.__version__} (built for CUDA {torch.version.cuda}) sees none "
            f"(CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')}): trainings would use the CPU. "
            "Ask for a partition, gres or constraint with GPUs in the profile, or install a torch that fits the "
            "node's driver; to mean the CPU, set training.device: cpu"
        )
    torch.zeros(1, device=where) + 1  # a broken driver shows at the first use
    memory = f", {torch.cuda.get_device_properties(where).total_memory >> 20} MiB" if where.type == "cuda" else ""
    return f"computes on {device_name(where)}{memory}"


def _see_data(dataset: Mapping[str, Any]) -> str:
    root = dataset["root"]
    if root is None:
        return f"data of the source {dataset['source']} are made by the workflow"
    pairs = list_pairs(dataset["source"], root, dataset["limit"], dataset["truth"], dataset["layout"])
    for path in (pairs[0].image, pairs[0].labels):
        try:
            path.read_bytes()
        except OSError as error:
            raise InputError(f"dataset.root: {path} cannot be read there ({error.strerror})") from error
    return f"reads {len(pairs)} pairs below {root}"
