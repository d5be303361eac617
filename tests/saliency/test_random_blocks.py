import numpy as np
import pytest

from spatial_reduction.masks.ranking import shrink_mask
from spatial_reduction.runtime.device import Machine
from spatial_reduction.saliency.base import Context, stream_scores


def stream(source, labels, rank="highest"):
    """The scores of one block of images of which a source that needs no model sees the labels only."""
    context = Context("no model", Machine("cpu", 1), 3, [1, 2], seed=1, iteration=2)
    return next(stream_scores(source, [(None, labels)], context, rank))


@pytest.mark.parametrize(("height", "width", "side"), [(64, 64, 4), (64, 256, 16), (256, 64, 16), (6, 7, 1)])
def test_random_blocks_are_squares_of_a_sixteenth_of_the_longer_side(height, width, side):
    scores = stream("random_blocks", np.zeros((2, height, width), np.uint8))
    squares = scores.reshape(2, height // side, side, width // side, side)
    assert (squares == squares[:, :, :1, :, :1]).all()
    assert len(np.unique(scores)) == 2 * (height // side) * (width // side)


@pytest.mark.parametrize("shape", [(16, 16), (40, 40), (33, 20), (5, 7)])
def test_random_blocks_fit_any_shape_and_any_count_is_kept_exactly(shape):
    scores = stream("random_blocks", np.zeros((3, *shape), np.uint8)).reshape(3, -1)
    for count in (1, scores.shape[1] // 3, scores.shape[1]):
        kept = shrink_mask(np.ones(scores.shape, bool), scores, count)
        assert (kept.sum(axis=1) == count).all()


def test_kept_random_blocks_are_whole_but_for_the_one_that_the_count_cuts():
    scores = stream("random_blocks", np.zeros((4, 64, 64), np.uint8)).reshape(4, -1)
    kept = shrink_mask(np.ones(scores.shape, bool), scores, 1001).reshape(4, 16, 4, 16, 4)
    full = kept.sum(axis=(2, 4))
    assert ((full == 16).sum(axis=(1, 2)) == 1001 // 16).all()
    assert (np.isin(full, [0, 16]).sum(axis=(1, 2)) == 16 * 16 - 1).all()
