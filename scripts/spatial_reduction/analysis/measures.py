"""Words that figures, tables and verdict share: the measures, the protocols, the decisions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Score(NamedTuple):
    """What is scored.

    Attributes:
        protocol: what the model is shown, see PROTOCOLS.
        measure: see MEASURES.
        group: of classes that it is averaged over; the column `class` of the tables.
    """

    protocol: str
    measure: str
    group: str


@dataclass(frozen=True)
class Measure:
    """How a measure reads.

    Attributes:
        name: in print.
        unit: of a difference.
        higher_is_better: which sign of a difference favours the arm.
        scale: from the stored value to the printed one.
        names_images: the name says which images it is about.
        digits: decimals of a printed difference; a score has one less.
        is_of_objects: of connected objects, see `objects`; measured of the last model on intact test images alone.
    """

    name: str
    unit: str = "points"
    higher_is_better: bool = True
    scale: float = 100
    names_images: bool = False
    digits: int = 2
    is_of_objects: bool = False

    @property
    def score_unit(self) -> str:
        """Unit of a score, for the axis of a figure, with a hint where less is more."""
        return ("%" if self.scale == 100 else self.unit) + ("" if self.higher_is_better else ", lower is better")

    @property
    def score_digits(self) -> int:
        """Decimals of a printed score."""
        return self.digits - 1


def _of_objects(name: str, digits: int, unit: str = "points", higher_is_better: bool = False) -> Measure:
    scale = 100 if unit == "points" else 1
    return Measure(name, unit, higher_is_better, scale, digits=digits, is_of_objects=True)


MEASURES = {
    "mean_iou": Measure("mean IoU"),
    "mean_dice": Measure("mean Dice"),
    "binary_iou": Measure("foreground IoU"),
    "pixel_accuracy": Measure("pixel accuracy"),
    "mean_boundary_iou": Measure("mean boundary IoU"),
    "ece": Measure("expected calibration error", higher_is_better=False),
    "nll": Measure("negative log-likelihood", "nats per pixel", higher_is_better=False, scale=1, digits=4),
    "rand_error": _of_objects("adapted Rand error", digits=3),
    "variation_of_information": _of_objects("variation of information", digits=4, unit="bits"),
    "vi_split": _of_objects("variation of information, splits", digits=4, unit="bits"),
    "vi_merge": _of_objects("variation of information, mergers", digits=4, unit="bits"),
    "rand_error_thinned": _of_objects("adapted Rand error after thinning borders", digits=3),
    "variation_of_information_thinned": _of_objects(
        "variation of information after thinning borders", digits=4, unit="bits"
    ),
    "warping_error": _of_objects("warping error", digits=5),  # published ones are a few hundredths of a per cent
    "pixel_error": _of_objects("pixel error", digits=3),
    "seg": _of_objects("SEG (mean Jaccard index of objects)", digits=2, higher_is_better=True),
    "object_f1": _of_objects("F1 of objects matched at IoU .5", digits=2, higher_is_better=True),
    "mean_object_f1": _of_objects("mean F1 of objects matched at IoU .5 to .95", digits=2, higher_is_better=True),
    "corruption_drop": Measure("loss of mean IoU when images are corrupted", higher_is_better=False, names_images=True),
    "background_swapped_drop": Measure(
        "loss of foreground IoU when the background is swapped", higher_is_better=False, names_images=True
    ),
    "background_blurred_drop": Measure(
        "loss of foreground IoU when the background is blurred", higher_is_better=False, names_images=True
    ),
    "validation_area": Measure("validation mean IoU, averaged over the same optimiser steps", names_images=True),
    "validation_area_pixels": Measure(
        "validation mean IoU, averaged over the same number of kept pixels", names_images=True
    ),
    "steps_to_95": Measure(
        "optimiser steps to 95 % of the lower of the two final validation scores",
        "steps",
        False,
        1,
        True,
        0,
    ),
}
PROTOCOLS = {
    "intact": "intact test images",
    "self_masked": "test images masked by the model of the iteration before",
    "label_masked": "test images masked by their labels",
    "corrupted": "corrupted test images",
    "background_swapped": "test images with another image's background",
    "background_blurred": "test images with a blurred background",
    "validation": "intact validation images",
}
HYPOTHESES = {"H1": "accuracy", "H1b": "robustness", "H2": "convergence", "H3": "background"}
DECISIONS = {
    "supported": "the arm is better",
    "refuted": "the arm is worse",
    "equivalent": "no difference that matters",
    "undecided": "the data do not decide",
    "not_learnt": "one of the two predicts no better than a predictor that sees no image",
    "not_comparable": "the two are identical in all that is compared",
    "undefined": "there is no difference to test, or no variance to test it with",
}
# A loss on changed images: the score that is lost. An arm that scores low on intact images has less to lose.
LOSSES = {
    "corruption_drop": "mean_iou",
    "background_swapped_drop": "binary_iou",
    "background_blurred_drop": "binary_iou",
}


def deciding_measures(measure: str) -> dict[str, tuple[str, str]]:
    """Return the (measure, protocol) that decides each hypothesis; `measure` is the one of the report."""
    return {
        "H1": (measure, "intact"),
        "H1b": ("corruption_drop", "corrupted"),
        "H2": ("validation_area", "validation"),
        "H3": ("background_swapped_drop", "background_swapped"),
    }


def margin_of(measure: str, margins: Mapping[str, float]) -> float:
    """Return the largest difference that does not matter, in the unit of the measure.

    Args:
        margins: of the configuration, by measure; `default` is in points and stands for a hundredth of it in nats and
            bits.
    """
    return margins.get(measure, margins["default"] * MEASURES[measure].scale / 100)


def format_p(value: float) -> str:
    """Return a p-value as text, without the leading zero."""
    if value != value:
        return "not defined"
    return "< .001" if value < 0.001 else f"{value:.3f}".lstrip("0")


def format_whole(value: float) -> str:
    """Return a quantity as text without decimals, thousands apart; nothing if it is not known."""
    return "" if value != value else f"{value:,.0f}"


def measured_group(measure: str, class_group: str) -> str:
    """Return the value of the column `class` of a measure on intact images, as averaged over a group of classes.

    Only the means of IoU and Dice are averaged over the group; measures of objects and of all pixels are of `all`.
    """
    if measure in ("binary_iou", "background_swapped_drop", "background_blurred_drop"):
        return "foreground"
    return class_group if measure in ("mean_iou", "mean_dice") else "all"


def describe_determinism(is_asked: bool, devices: Iterable[str]) -> str:
    """Say whether a repeated run would have the same bits; `devices` are those it ran on, as files record them."""
    on_gpu = sorted(device for device in set(devices) if not device.startswith("cpu ("))
    if is_asked:
        promise = (
            "deterministic algorithms (training.deterministic): the same bits again on the same machine and software"
        )
    elif on_gpu:
        promise = "not asked for (training.deterministic): on a GPU another run may differ by accumulated rounding"
    else:
        promise = "not needed on a CPU: the same bits again with the same software and number of threads"
    return f"{promise}; ran on {', '.join(on_gpu) if on_gpu else 'the CPU alone'}"
