import numpy as np
import pytest


@pytest.mark.parametrize("source", ["random", "random_blocks"])
def test_random_scores_differ_between_seeds_and_iterations(source, scores_of, dataset, tmp_path):
    base = scores_of(tmp_path / "a.h5", source=source)
    assert not np.array_equal(base, scores_of(tmp_path / "b.h5", source=source, seed=2))
    assert not np.array_equal(base, scores_of(tmp_path / "c.h5", source=source, iteration=3))
