"""One reduction step: score the pixels of each image, keep the highest, remove the rest."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from spatial_reduction.masks.apply_mask import Removal
from spatial_reduction.masks.ranking import Schedule
from spatial_reduction.masks.score_pixels import Scoring

Part = TypeVar("Part", Scoring, Schedule, Removal)


@dataclass(frozen=True)
class ReductionStep:
    """How an arm goes from a model and its masks to the next masks, and from those to images.

    Attributes:
        scoring: images -> scores.
        schedule: scores and the last masks -> masks.
        removal: masks and images -> what the next model is trained on.
    """

    scoring: Scoring
    schedule: Schedule
    removal: Removal

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], threshold: str) -> "ReductionStep":
        """Build a step from the keys of the section `reduction` that a job has; the others have their defaults."""
        named = {**settings, "threshold": threshold}
        return cls(*(_part(kind, named) for kind in (Scoring, Schedule, Removal)))


def _part(kind: type[Part], settings: Mapping[str, Any]) -> Part:
    return kind(**{field.name: settings[field.name] for field in fields(kind) if field.name in settings})
