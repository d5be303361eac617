"""What the benchmark works on: pictures as files, data sets made of them, and the arguments of every stage."""

import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from spatial_reduction.data.layouts import list_oxford_pet
from spatial_reduction.data.prepare import prepare_dataset
from spatial_reduction.data.synthetic_pets import draw_synthetic_pets
from spatial_reduction.evaluation.chain import Chain
from spatial_reduction.evaluation.evaluate import Evaluation
from spatial_reduction.masks.apply_mask import Removal
from spatial_reduction.masks.ranking import Schedule
from spatial_reduction.masks.reduction_step import ReductionStep
from spatial_reduction.runtime.device import Machine
from spatial_reduction.training.train import TrainingFiles

ROOT = Path(__file__).resolve().parents[2]
CONFIG = yaml.safe_load((ROOT / "config/config.yaml").read_text())
DRAWN, DRAWN_SIDE = 18, 384  # a drawn picture of this size takes 0.2 s
WIDTHS = [32, 64, 128]


@dataclass(frozen=True)
class Stage:
    """A folder with a data set, and the arguments with which the library's functions work on it.

    Attributes:
        folder: where all files lie; the data set is `dataset.h5`.
        pictures: that it is made of.
        widths: of the U-Net.
    """

    folder: Path
    pictures: Path
    widths: tuple[int, ...] = tuple(WIDTHS)

    def file(self, name: str) -> Path:
        """Return a path in the folder."""
        return self.folder / name

    def preparation(self, images: int, side: int, threads: int, shares: tuple[int, int] = (4, 4)) -> dict[str, Any]:
        """Return arguments of `prepare_dataset`; `shares` are per cent for validation and test."""
        section = deepcopy(CONFIG["dataset"]) | {"source": "oxford_pet", "image_size": side, "limit": images}
        validation, test = shares
        section["split"] |= {"method": "random", "validation_share": validation, "test_share": test}
        for entry in section["classes"]:
            del entry["share"]
        return {"root": self.pictures, "output": self.file("dataset.h5"), "dataset": section, "threads": threads}

    def prepare(self, images: int, side: int, shares: tuple[int, int] = (4, 4)) -> "Stage":
        """Make the folder and its data set."""
        self.folder.mkdir(parents=True, exist_ok=True)
        prepare_dataset(**self.preparation(images, side, os.cpu_count() or 1, shares))
        return self

    def training(self, threads: int, job: str = "job", batch_size: int = 8) -> dict[str, Any]:
        """Return arguments of `train_model` for one epoch from new weights, on intact images; jobs share no output."""
        changes = {"epochs": 1, "batch_size": batch_size, "learning_rate": 1e-4, "device": "cpu"}
        model = {key: value for key, value in CONFIG["model"].items() if key != "window"}  # of sliding windows
        files = {"dataset": "dataset.h5", "mask": "intact_mask.h5", "model": f"{job}.safetensors"}
        files |= {"history": f"{job}.csv", "checkpoint": f"{job}_checkpoint.safetensors"}
        files["validation_counts"] = f"{job}_validation_counts.h5"
        return {
            "files": TrainingFiles(**self._paths(files)),
            "model": model | {"widths": list(self.widths)},
            "training": CONFIG["training"] | changes | {"windows": 0},
            "removal": Removal(),
            "start": "scratch",
            "seed": 1,
            "machine": Machine("cpu", threads),
        }

    def saliency(self, threads: int) -> dict[str, Any]:
        """Return arguments of `compute_saliency`: the prediction of the model on intact images."""
        files = {"dataset": "dataset.h5", "model": "model.safetensors", "mask": "intact_mask.h5"}
        step = ReductionStep.from_settings(CONFIG["reduction"], "90")
        settings = {"scoring": step.scoring, "removal": step.removal, "machine": Machine("cpu", threads)}
        return self._paths(files) | settings | {"output": self.file("saliency.h5"), "seed": 1, "iteration": 2}

    def shrinking(self) -> dict[str, Any]:
        """Return arguments of `shrink_masks`: the top 90 %."""
        files = {"dataset": "dataset.h5", "saliency": "saliency.h5", "parent": "intact_mask.h5"}
        files |= {"model": "model.safetensors", "output": "mask.h5", "table": "kept_pixels.csv"}
        return self._paths(files) | {"schedule": Schedule("compounding", 0, "90"), "iteration": 2}

    def evaluation(self, protocols: list[str], threads: int) -> dict[str, Any]:
        """Return arguments of `evaluate_model` for one model."""
        groups, foreground = (CONFIG["evaluation"][key] for key in ("class_groups", "foreground"))
        files = {"dataset": "dataset.h5", "metrics": "metrics.csv", "counts": "counts.h5"}
        return self._paths(files) | {
            "models": [self.file("model.safetensors")],
            "evaluation": Evaluation(["test"], protocols, groups, foreground),
            "step": ReductionStep.from_settings(CONFIG["reduction"], "100"),
            "chain": Chain("single_pass", "100", 1),
            "machine": Machine("cpu", threads),
        }

    def functions(self, preparation: dict[str, Any], threads: int = 1) -> dict[str, tuple[str, dict[str, Any]]]:
        """Return modules with a function, as `peak` takes them, and its arguments, of every stage."""
        scores = "spatial_reduction.saliency.probability,spatial_reduction.masks.score_pixels"
        return {
            "prepare": ("spatial_reduction.data.prepare:prepare_dataset", preparation),
            "saliency": (f"{scores}:compute_saliency", self.saliency(threads)),
            "mask": ("spatial_reduction.masks.shrink:shrink_masks", self.shrinking()),
            "evaluate": ("spatial_reduction.evaluation.evaluate:evaluate_model", self.evaluation(["intact"], threads)),
            "train": ("spatial_reduction.training.train:train_model", self.training(threads)),
        }

    def _paths(self, files: Mapping[str, str]) -> dict[str, Path]:
        return {key: self.file(name) for key, name in files.items()}


def collect_pictures(folder: Path, count: int) -> Path:
    """Return a folder of `count` pairs in the Oxford-IIIT Pet layout: those of REAL_DATA, or drawn ones, repeated."""
    real = os.environ.get("REAL_DATA")
    source = Path(real) / "oxford-iiit-pet" if real else folder / "drawn"
    if not real:
        draw_synthetic_pets(source, DRAWN, DRAWN_SIDE, test_share=50, seed=0)
    pairs = list_oxford_pet(source)
    repeated = folder / "pictures"
    for part in ("images", "annotations/trimaps"):
        (repeated / part).mkdir(parents=True)
    names = []
    for index in range(count):
        pair = pairs[index % len(pairs)]
        names.append(f"{pair.name}{index // len(pairs):03}")
        os.symlink(pair.image.absolute(), repeated / "images" / f"{names[-1]}.jpg")
        os.symlink(pair.labels.absolute(), repeated / "annotations/trimaps" / f"{names[-1]}.png")
    (repeated / "annotations/trainval.txt").write_text("".join(f"{name} 1 1 1\n" for name in names))
    (repeated / "annotations/test.txt").write_text("")
    return repeated


def picture_pairs(pictures: Path, names: list[str]) -> list[tuple[Path, Path]]:
    """Return the files of some pairs."""
    return [(pictures / f"images/{name}.jpg", pictures / f"annotations/trimaps/{name}.png") for name in names]
