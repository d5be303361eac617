"""The ladder: from the baseline to the method, step by step, and beside it what the content of the mask adds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from spatial_reduction.analysis.comparators import FULL
from spatial_reduction.analysis.decisions import deciding_score

TRAINING, MASKING, BOTH, CONTENT = "more training", "masking", "both", "content of the mask"
METHOD = "the method"  # in place of masking, where it removes nothing


@dataclass(frozen=True)
class Step:
    """One step at one threshold of the method.

    Attributes:
        threshold: of the method.
        name: more training, masking (or the method), both or content of the mask.
        contrast: its row of `contrasts.csv`.
    """

    threshold: str
    name: str
    contrast: Mapping[str, Any]

    @property
    def sides(self) -> tuple[str, str]:
        """The arm and what is subtracted from it."""
        return self.contrast["arm"], self.contrast["comparator"]


def build_ladder(contrasts: pd.DataFrame, evaluation: Mapping[str, Any], report: Mapping[str, Any]) -> list[Step]:
    """Return the steps in what decides hypothesis 1, as far as they were measured, threshold by threshold.

    The baseline is the second comparator (single pass), the primary one trains as long as the method and masks nothing:
    more training is primary minus baseline, masking is method minus primary, both are method minus baseline. The
    content of the mask is method minus each control. A method that removes nothing is not called masking.

    Args:
        contrasts: `contrasts.csv`, thresholds as text.
    """
    protocol, measure, group = deciding_score("H1", report)
    is_asked = (contrasts["measure"] == measure) & (contrasts["protocol"] == protocol) & (contrasts["class"] == group)
    rows = contrasts[is_asked].to_dict("records")
    method, (primary, *others) = report["method"], evaluation["comparators"]
    thresholds = list(dict.fromkeys(row["threshold"] for row in rows if row["arm"] == method))
    own = (METHOD if thresholds == [FULL] else MASKING, method, primary)
    steps = [(TRAINING, primary, others[0]), own, (BOTH, method, others[0])] if others else [own]
    steps += [(CONTENT, method, control) for control in evaluation["controls"]]
    return [
        Step(threshold, name, row)
        for threshold in thresholds
        for name, arm, against in steps
        for row in rows
        if (row["arm"], row["comparator"]) == (arm, against) and row["threshold"] in (threshold, _only(rows, arm))
    ]


def _only(rows: list[dict[str, Any]], arm: str) -> str | None:
    """Return the threshold of an arm that has one alone, so that it stands beside all of the method's."""
    thresholds = {row["threshold"] for row in rows if row["arm"] == arm}
    return thresholds.pop() if len(thresholds) == 1 else None
