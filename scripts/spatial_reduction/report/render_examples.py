"""Follow a few test images through a chain: what each iteration's model finds, keeps and predicts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.evaluation.chain import Chain
from spatial_reduction.masks.reduction_step import ReductionStep
from spatial_reduction.networks.inference import predict
from spatial_reduction.networks.model_file import load_model, require_architecture
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.files import create_hdf5


def render_examples(
    dataset: str | Path,
    models: Sequence[str | Path],
    output: str | Path,
    images: int,
    step: ReductionStep,
    chain: Chain,
    machine: Machine,
) -> None:
    """Write `examples.h5`: M test images, their labels, and for each model what it finds, keeps and predicts.

    The test images are spread evenly over the test split (no choice by hand) and reduced as training images are.

    Datasets: `images` uint8 (M, H, W, C), `labels` uint8 (M, H, W), `predictions` uint8 (K, M, H, W) of the
    intact images, `saliency` float32 (K-1, M, H, W) of each model but the last, `reduced` uint8 (K, M, H, W, C): what
    each iteration would train on.
    """
    where, data = machine.enter(), Dataset.open(dataset, chain.seed)
    chosen = np.linspace(0, data.count("test") - 1, min(images, data.count("test"))).astype(int)
    pixels, labels = data.pick("test", chosen)
    donors = step.scoring.donors(len(pixels), chain.seed)
    carriers = step.scoring.carriers(len(pixels), chain.seed)
    shown = step.removal.made_visible()

    kept, reduced, saliency, predictions = [np.ones(labels.shape, dtype=bool)], [pixels], [], []
    for iteration, path in enumerate(models, start=1):
        network = load_model(path, where).eval()
        require_architecture(path, network, data.image_shape[2], len(data.classes), None)
        predictions.append(predict(network, pixels, where))
        if iteration == len(models):
            break
        context = step.scoring.context(data, path, machine, chain.seed, iteration + 1)
        seen = pixels
        if step.scoring.saliency_images == "reduced":
            seen, _ = step.removal.apply(pixels, labels, kept[-1][carriers], chosen, data.mean, chain.seed)
        saliency.append(next(step.scoring.stream([(seen, labels)], context))[donors])
        kept.append(step.schedule.next_masks(saliency[-1], kept[-1], iteration + 1))
        reduced.append(shown.apply(pixels, labels, kept[-1], chosen, data.mean, chain.seed)[0])
    with create_hdf5(output, "examples") as file:
        file.attrs["classes"] = data.classes
        file["names"] = np.array(data.names("test"), dtype=object)[chosen]
        file["images"], file["labels"] = pixels, labels
        file["predictions"], file["reduced"] = np.stack(predictions), np.stack(reduced)
        file["saliency"] = np.stack(saliency) if saliency else np.zeros((0, *labels.shape), np.float32)
