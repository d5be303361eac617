import numpy as np
import pytest


@pytest.mark.parametrize("source", ["random", "random_blocks"])
def test_random_scores_differ_between_seeds_and_iterations(source, scores_of, dataset, tmp_path):
    base = scores_of(tmp_path / "a.h5", source=source)
    assert base[0, 0, 0] == pytest.approx(0.6432607, abs=1e-6)  # of seed 1 and iteration 2, from version to version
    assert not np.array_equal(base, scores_of(tmp_path / "b.h5", source=source, seed=2))
    assert not np.array_equal(base, scores_of(tmp_path / "c.h5", source=source, iteration=3))
