import numpy as np

from spatial_reduction.masks.ranking import shrink_mask
from spatial_reduction.runtime.device import Machine
from spatial_reduction.saliency.base import Context, stream_scores
from spatial_reduction.saliency.centre import log_gaussian


def stream(source, labels, rank="highest"):
    """The scores of one block of images of which a source that needs no model sees the labels only."""
    context = Context("no model", Machine("cpu", 1), 3, [1, 2], seed=1, iteration=2)
    return next(stream_scores(source, [(None, labels)], context, rank))


def test_the_centre_prior_is_hand_made_and_symmetric():
    assert log_gaussian(3, 5).tolist() == [
        [-2.5, -1, -0.5, -1, -2.5],
        [-2, -0.5, 0, -0.5, -2],
        [-2.5, -1, -0.5, -1, -2.5],
    ]
    scores = stream("centre", np.zeros((2, 8, 8), np.uint8))
    for same in (scores[::-1], scores[:, ::-1], scores[:, :, ::-1], scores.transpose(0, 2, 1)):
        assert np.array_equal(scores, same)
    kept = shrink_mask(np.ones((2, 64), bool), scores.reshape(2, -1), 4).reshape(2, 8, 8)
    assert kept[:, 3:5, 3:5].all()
