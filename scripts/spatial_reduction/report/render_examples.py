"""Follow a few test images through a chain: what each iteration's model finds, keeps and predicts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.masks.apply_mask import Removal
from spatial_reduction.masks.ranking import kept_counts, shrink_mask
from spatial_reduction.masks.score_pixels import mask_carriers
from spatial_reduction.networks.inference import predict
from spatial_reduction.networks.model_file import load_model, require_architecture
from spatial_reduction.runtime.determinism import set_determinism
from spatial_reduction.runtime.device import choose_device
from spatial_reduction.runtime.files import create_hdf5
from spatial_reduction.saliency.base import Context, stream_scores


def render_examples(
    dataset: str | Path,
    models: Sequence[str | Path],
    output: str | Path,
    images: int,
    reduction: dict[str, Any],
    threshold: str,
    seed: int,
    device: str,
    threads: int,
    deterministic: bool = False,
) -> None:
    """Write `examples.h5`: M test images, their labels, and for each model what it finds, keeps and predicts.

    The test images are spread evenly over the test split (no choice by hand) and reduced as training images are.

    Datasets: `images` uint8 (M, H, W, C), `labels` uint8 (M, H, W), `predictions` uint8 (K, M, H, W) of the
    intact images, `saliency` float32 (K-1, M, H, W) of each model but the last, `reduced` uint8 (K, M, H, W, C): what
    each iteration would train on.
    """
    torch.set_num_threads(threads)
    set_determinism(deterministic)
    data, where = Dataset.open(dataset, seed), choose_device(device)
    chosen = np.linspace(0, data.count("test") - 1, min(images, data.count("test"))).astype(int)
    pixels, labels = data.pick("test", chosen)
    counts = kept_counts(reduction["schedule"], threshold, reduction["step"], len(models), data.pixel_count)
    interest = data.class_indices(reduction["classes_of_interest"])
    is_compounding = reduction["schedule"] == "compounding"
    is_reduced = reduction["saliency_images"] == "reduced" and reduction["removes"] != "loss"
    carriers = mask_carriers(len(pixels), seed) if reduction["shuffle"] else np.arange(len(pixels))

    def reduced_by(masks: np.ndarray) -> np.ndarray:
        return Removal(reduction["fill"]).apply(pixels, labels, masks, chosen, data.mean, seed)[0]

    kept, reduced, saliency, predictions = [np.ones(labels.shape, dtype=bool)], [pixels], [], []
    for iteration, path in enumerate(models, start=1):
        network = load_model(path, where).eval()
        require_architecture(path, network, data.image_shape[2], len(data.classes), None)
        predictions.append(predict(network, pixels, where))
        if iteration == len(models):
            break
        context = Context(Path(path), device, threads, len(data.classes), interest, seed, iteration + 1)
        seen = reduced_by(kept[-1][carriers]) if is_reduced else pixels
        scores = np.empty(labels.shape, np.float32)
        scores[carriers] = next(stream_scores(reduction["source"], [(seen, labels)], context, reduction["rank"]))
        saliency.append(scores)
        candidates = kept[-1] if is_compounding else kept[0]
        kept.append(shrink_mask(candidates, scores, counts[iteration]))
        reduced.append(reduced_by(kept[-1]))
    with create_hdf5(output, "examples") as file:
        file.attrs["classes"] = data.classes
        file["names"] = np.array(data.names("test"), dtype=object)[chosen]
        file["images"], file["labels"] = pixels, labels
        file["predictions"], file["reduced"] = np.stack(predictions), np.stack(reduced)
        file["saliency"] = np.stack(saliency) if saliency else np.zeros((0, *labels.shape), np.float32)
