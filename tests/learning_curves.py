"""Write counts of validation images that give a learning curve its scores."""

import numpy as np

from spatial_reduction.runtime.files import create_hdf5

PIXELS = 50  # of each of two classes


def write_validation_counts(path, scores, spread=0.0, images=8):
    """Write `validation_counts.h5` of an iteration with these validation mean IoUs, one per epoch.

    Of two equal classes with the share a of pixels right each, the mean IoU is a / (2 - a). `spread` is the standard
    deviation of that share over the images.
    """
    shares = np.array([2 * score / (1 + score) for score in scores])[:, None]
    deviations = np.linspace(-1, 1, images)
    right = PIXELS * (shares + spread * deviations / deviations.std())
    wrong = PIXELS - right
    with create_hdf5(path, "validation_counts") as file:
        file["confusion"] = np.stack([np.stack([right, wrong], -1), np.stack([wrong, right], -1)], -2)


def write_all_counts(folder, history, spread=0.0):
    """Write those of every chain of a `history.csv`; return {(arm, threshold, seed, iteration): file}."""
    files = {}
    for (arm, threshold, seed, iteration), table in history.groupby(["arm", "threshold", "seed", "iteration"]):
        path = files[arm, threshold, str(seed), int(iteration)] = folder / f"{arm}_{threshold}_{seed}_{iteration}_v.h5"
        write_validation_counts(path, table["validation_mean_iou"], spread)
    return files
