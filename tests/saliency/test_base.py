import numpy as np
import pytest

from spatial_reduction.masks.ranking import shrink_mask


@pytest.mark.parametrize("source", ["probability", "random", "random_blocks", "oracle", "centre"])
def test_every_source_scores_every_training_pixel_and_repeats_itself(source, scores_of, dataset, tmp_path):
    first, again = (scores_of(tmp_path / name, source=source) for name in ("a.h5", "b.h5"))
    assert first.shape == (10, 16, 16)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert np.array_equal(first, again)


def test_the_lowest_rank_keeps_what_the_highest_removes(scores_of, dataset, tmp_path):
    highest = scores_of(tmp_path / "a.h5", source="probability").reshape(10, -1)
    lowest = scores_of(tmp_path / "b.h5", source="probability", rank="lowest").reshape(10, -1)
    everything = np.ones(highest.shape, bool)
    assert np.array_equal(shrink_mask(everything, lowest, 64), ~shrink_mask(everything, highest, 192))
