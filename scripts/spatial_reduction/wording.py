"""Words that figures and report share."""

MEASURE_NAMES = {
    "mean_iou": "mean IoU",
    "mean_dice": "mean Dice",
    "binary_iou": "foreground IoU",
    "pixel_accuracy": "pixel accuracy",
}
DECISIONS = {
    "supported": "the arm is better",
    "refuted": "the arm is worse",
    "equivalent": "no difference that matters",
    "undecided": "the data do not tell",
}


def format_p(value: float) -> str:
    """Return a p-value as text, without the leading zero."""
    if value != value:
        return "not defined"
    return "< .001" if value < 0.001 else f"{value:.3f}".lstrip("0")


def format_whole(value: float) -> str:
    """Return a quantity as text without decimals, thousands apart; nothing if it is not known."""
    return "" if value != value else f"{value:,.0f}"


def measured_group(measure: str, class_group: str) -> str:
    """Return the value of the column `class` of a summary measure, as averaged over a group of classes."""
    return {"binary_iou": "foreground", "pixel_accuracy": "all"}.get(measure, class_group)
