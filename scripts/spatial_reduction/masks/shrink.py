"""Make the masks of one iteration from those of the last, and a table of what they keep."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.masks.mask_file import open_mask, write_mask
from spatial_reduction.masks.ranking import Schedule
from spatial_reduction.masks.saliency_file import open_scores
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import file_digest, table_digest, write_table
from spatial_reduction.runtime.log import progress, say

# Pixels that touch by a side or a corner are of one component; pixels of different images never are.
EIGHT_NEIGHBOURS = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])


def write_intact_mask(dataset: str | Path, output: str | Path) -> None:
    """Write the mask that iteration 1 trains on: every pixel of every training image."""
    data = Dataset.open(dataset)
    height, width, _ = data.image_shape
    blocks = (np.ones((len(labels), height, width), bool) for _, _, labels in data.blocks("train"))
    write_mask(output, blocks, (height, width), {"iteration": 1, "parent_digest": "", "model_digest": ""})


def shrink_masks(
    dataset: str | Path,
    saliency: str | Path,
    parent: str | Path,
    model: str | Path,
    output: str | Path,
    table: str | Path,
    schedule: Schedule,
    iteration: int,
    seed: int | None = None,
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Make the mask that `iteration` trains on, and a table of what it keeps.

    Args:
        saliency: scores of the training images by the model of the previous iteration.
        parent: mask of the previous iteration.
        model: that model's file; its digest is recorded.
        seed: whose training images these are, see `Dataset.open`.
        origin: what the job was asked for; the mask file keeps it with that of the scores and the digest of the table.

    Raises:
        InputError: a file is damaged, or the files belong to different data.
    """
    data = Dataset.open(dataset, seed)
    shape, count = data.image_shape[:2], data.count("train")
    recorded = {"iteration": iteration, "threshold": schedule.threshold, "schedule": schedule.schedule}
    tally = _Tally(data.classes)
    with open_scores(saliency, count, shape) as scores, open_mask(parent, count, shape) as before:
        recorded |= {"parent_digest": before.attributes["digest"], "model_digest": file_digest(model)}
        scored_by = json.loads(scores.file.attrs.get("origin", "{}"))
        made_by = {"compute_saliency": scored_by, "shrink_mask": dict(origin or {})}

        def shrunk() -> Iterator[np.ndarray]:
            for block, _, labels in progress(
                data.blocks("train"), data.block_count("train"), "shrinking masks", "blocks"
            ):
                previous = before.read(block)
                with _blamed(parent, saliency):
                    kept = schedule.next_masks(scores[block], previous, iteration)
                tally.add(kept, previous, labels)
                yield kept
            # Before the mask ends, so that it can hold the digest of the table.
            write_table(table, tally.rows())
            recorded["origin"] = json.dumps(made_by | {"files": {"kept_pixels": table_digest(table)}})

        write_mask(output, shrunk(), shape, recorded)
    target = schedule.count(data.pixel_count, iteration)
    say(f"{output}: {target} of {data.pixel_count} pixels kept in each of {count} images")


@contextmanager
def _blamed(parent: str | Path, saliency: str | Path) -> Iterator[None]:
    """Raise the error of a step again with the name of the file that caused it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{saliency}: {error}; delete it and run again") from error
    except ValueError as error:
        raise InputError(f"{parent}: {error} in each image; delete it and run again") from error


class _Tally:
    """Counts, over all images: kept pixels, those of each class, overlap with the previous mask, components."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.kept, self.total = np.zeros(256, dtype=np.int64), np.zeros(256, dtype=np.int64)
        self.both = self.either = self.components = self.images = 0

    def add(self, kept: np.ndarray, previous: np.ndarray, labels: np.ndarray) -> None:
        self.kept += np.bincount(labels[kept], minlength=256)
        self.total += np.bincount(labels.reshape(-1), minlength=256)
        self.both += int((kept & previous).sum())
        self.either += int((kept | previous).sum())
        self.components += ndimage.label(kept, EIGHT_NEIGHBOURS)[1]
        self.images += len(kept)

    def rows(self) -> list[dict[str, Any]]:
        """Return rows (measure, class, value), values in per cent but for `components`, their number per image."""
        rows = [
            ("kept_share", "all", self.kept.sum() / self.total.sum()),
            ("overlap_iou", "all", self.both / self.either),
        ]
        for index, name in enumerate(self.classes):
            recall = self.kept[index] / self.total[index] if self.total[index] else np.nan
            rows += [("recall", name, recall), ("share_of_kept", name, self.kept[index] / self.kept.sum())]
        percentages = [(measure, name, float(100 * value)) for measure, name, value in rows]
        counted = [("components", "all", self.components / self.images)]
        return [{"measure": m, "class": name, "value": value} for m, name, value in percentages + counted]
