"""Test protocols: what a model is shown of the test images. Each is a view, a stream of blocks made from another."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import tee

import numpy as np

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.data.labels import IGNORED
from spatial_reduction.evaluation.backgrounds import complete_background, donor_positions, soften_background
from spatial_reduction.evaluation.corruptions import CORRUPTED, corrupt
from spatial_reduction.masks.reduction_step import ReductionStep
from spatial_reduction.saliency.base import Context, stream_scores, uses_labels

# (position in the split, images uint8 (n, H, W, C), labels uint8 (n, H, W)). A view maps blocks, not single images,
# because a source of saliency does: it loads its model, or starts to draw at random, once for all of them.
Block = tuple[slice, np.ndarray, np.ndarray]
View = Callable[[Iterable[Block]], Iterator[Block]]


def build_views(
    protocols: Sequence[str],
    data: Dataset,
    foreground: Sequence[str],
    step: ReductionStep,
    context: Context,
) -> dict[str, View]:
    """Return the views of the test images other than the intact one, by the protocol's name.

    self_masked: masked by the arm's own means. The previous iteration's model (`context.model`) scores the intact
        image; as many of the top pixels stay as the last iteration keeps (`context.iteration`), the others are filled.
        No label is used. One pass with that count replaces the whole chain of masks, which at test time would need
        every model of it. An arm that exchanges masks exchanges those of the test images. Left out for chains of one
        iteration, which have no previous model, for sources that need labels, and for arms that remove pixels from the
        loss only.
    label_masked: masked by the true foreground (the source `oracle`), the same count and fill. In a chain of one
        iteration nothing is removed.
    noise_1 .. occlusion_3: each corruption at three severities, see `corruptions`.
    background_swapped: the foreground stands on another test image's background, of which all but the background
        is replaced by the background blurred. All else is labelled as background.
    background_blurred: blurred by background pixels alone.

    A view does not depend on how images are divided into blocks.

    Args:
        protocols: see the section `evaluation` of the configuration; a corruption stands for its three severities.
        foreground: names of the classes that are not background.
        step: of the arm.
        context: in which the last iteration's masks are made.
    """
    masked = partial(_mask, data=data, step=step, context=context)
    front = data.class_indices(foreground)
    views: dict[str, View] = {}
    if context.iteration > 1 and step.removal.changes_images and not uses_labels(step.scoring.source):
        views["self_masked"] = partial(masked, scores_of=partial(_score, data=data, step=step, context=context))
    views["label_masked"] = partial(masked, scores_of=partial(_score_truth, context=context))
    for name, (family, severity) in CORRUPTED.items():
        views[name] = partial(_corrupt, family=family, severity=severity)
    views["background_swapped"] = partial(_swap_background, data=data, foreground=front)
    views["background_blurred"] = partial(_blur_background, foreground=front)
    return {name: view for name, view in views.items() if {name, name.rpartition("_")[0]} & set(protocols)}


def _mask(
    blocks: Iterable[Block],
    data: Dataset,
    step: ReductionStep,
    context: Context,
    scores_of: Callable[[Iterable[Block]], Iterator[np.ndarray]],
) -> Iterator[Block]:
    shown, scored = tee(blocks)
    removal = step.removal.made_visible()
    for (block, images, labels), scores in zip(shown, scores_of(scored), strict=True):
        masks = step.schedule.next_masks(scores, np.ones(labels.shape, dtype=bool), context.iteration)
        yield block, removal.apply(images, labels, masks, _positions(block), data.mean, context.seed)[0], labels


def _score(blocks: Iterable[Block], data: Dataset, step: ReductionStep, context: Context) -> Iterator[np.ndarray]:
    """Score as the arm does, without labels; where it exchanges masks, the image whose mask each one carries."""
    donors = step.scoring.donors(data.count("test"), context.seed)
    pairs = (
        (data.pick("test", donors[block])[0] if step.scoring.shuffle else images, np.full_like(labels, IGNORED))
        for block, images, labels in blocks
    )
    return step.scoring.stream(pairs, context)


def _score_truth(blocks: Iterable[Block], context: Context) -> Iterator[np.ndarray]:
    return stream_scores("oracle", ((images, labels) for _, images, labels in blocks), context)


def _corrupt(blocks: Iterable[Block], family: str, severity: int) -> Iterator[Block]:
    for block, images, labels in blocks:
        yield block, corrupt(images, family, severity, _positions(block)), labels


def _swap_background(blocks: Iterable[Block], data: Dataset, foreground: Sequence[int]) -> Iterator[Block]:
    donors = donor_positions(data.count("test"))
    for block, images, labels in blocks:
        lent, lent_labels = data.pick("test", donors[block])
        is_background = _is_background(lent_labels, foreground)
        surroundings = np.stack([complete_background(*pair) for pair in zip(lent, is_background, strict=True)])
        is_front = np.isin(labels, foreground)
        others = _background_labels(lent_labels, is_background, len(data.classes), foreground)
        yield block, np.where(is_front[..., None], images, surroundings), np.where(is_front, labels, others)


def _background_labels(
    labels: np.ndarray, is_background: np.ndarray, classes: int, foreground: Sequence[int]
) -> np.ndarray:
    """Return the label of each pixel of a completed background; which class fills a hole is known if there is one."""
    background = [index for index in range(classes) if index not in foreground]
    filler = background[0] if len(background) == 1 else IGNORED
    return np.where(is_background, labels, np.uint8(filler))


def _blur_background(blocks: Iterable[Block], foreground: Sequence[int]) -> Iterator[Block]:
    for block, images, labels in blocks:
        pairs = zip(images, _is_background(labels, foreground), strict=True)
        yield block, np.stack([soften_background(*pair) for pair in pairs]), labels


def _is_background(labels: np.ndarray, foreground: Sequence[int]) -> np.ndarray:
    return ~np.isin(labels, [*foreground, IGNORED])


def _positions(block: slice) -> range:
    return range(block.start, block.stop)
