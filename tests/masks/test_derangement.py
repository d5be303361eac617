import numpy as np
import pytest

from spatial_reduction.masks.derangement import draw_derangement


@pytest.mark.parametrize("count", [1, 2, 3, 10, 257])
def test_every_image_is_drawn_once_in_one_cycle(count):
    others = draw_derangement(count, seed=4)
    seen, at = [], 0
    for _ in range(count):
        seen.append(at)
        at = int(others[at])
    assert at == 0
    assert sorted(seen) == list(range(count))


def test_it_depends_on_count_and_seed_alone():
    first, again, other = (draw_derangement(50, seed) for seed in ((1, 2), (1, 2), (2, 2)))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
