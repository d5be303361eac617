"""Fetch the Oxford-IIIT Pet release: the only place that uses the network."""

import shutil
from pathlib import Path

from torchvision.datasets import OxfordIIITPet

from spatial_reduction.errors import InputError


def download_oxford_pet(output: str | Path) -> None:
    """Download (800 MB), verify the archives' checksums, unpack; the folder appears whole or not at all.

    Raises:
        InputError: the download failed; what to do instead is said.
    """
    output = Path(output)
    partial = output.with_name(f".{output.name}.partial")  # archives that are there already are not fetched again
    for folder in ("images", "annotations"):  # torchvision takes an unpacked folder as proof that all is well
        shutil.rmtree(partial / "oxford-iiit-pet" / folder, ignore_errors=True)
    try:
        OxfordIIITPet(root=partial, split="trainval", target_types="segmentation", download=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"dataset.root: the Oxford-IIIT Pet release cannot be downloaded ({error}); "
            "set dataset.root to a folder that holds its images/ and annotations/"
        ) from error
    (partial / "oxford-iiit-pet").rename(output)
    shutil.rmtree(partial)
