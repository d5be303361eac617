"""The measures of a set of images, from counts that are summed over them: which there are, said once. No torch."""

import numpy as np

from spatial_reduction.metrics.boundary_iou import measure_boundaries
from spatial_reduction.metrics.calibration import calibration_error, mean_likelihood
from spatial_reduction.metrics.overlap import ClassSets, measure_overlap, ratio

OBJECTS = "objects/"  # then the measure


def measure_pooled(quantity: str, pooled: np.ndarray, classes: ClassSets) -> dict[tuple[str, str], np.ndarray]:
    """Return {(measure, class or group): values (...)} of one quantity that was summed over the images.

    Values are in [0, 1]; `nll` is in nats, those of information are in bits. NaN where no image has what is measured.

    Args:
        quantity: what was counted, see the shapes of `pooled`.
        pooled: `confusion` (..., C, C), `boundary` (..., C, 2), `reliability` (..., 15, 3), `nll` (..., 2), or
            `objects/MEASURE` (..., 2), sum and number.
    """
    if quantity == "confusion":
        return measure_overlap(pooled, classes)
    if quantity == "boundary":
        return measure_boundaries(pooled, classes)
    if quantity == "reliability":
        return {("ece", "all"): calibration_error(pooled)}
    if quantity == "nll":
        return {("nll", "all"): mean_likelihood(pooled)}
    return {(quantity.removeprefix(OBJECTS), "all"): ratio(pooled[..., 0], pooled[..., 1])}
