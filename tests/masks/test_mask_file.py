import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from experiments import edited_hdf5
from spatial_reduction.masks.mask_file import open_mask, write_mask
from spatial_reduction.masks.ranking import Schedule
from spatial_reduction.runtime.errors import InputError


@pytest.mark.parametrize(("schedule", "step"), [("compounding", 0), ("constant", 0), ("additive", -10)])
def test_a_chain_that_finishes_intact_keeps_all_in_its_last_iteration(schedule, step):
    finishing, other = Schedule(schedule, step, "90", intact_iteration=4), Schedule(schedule, step, "90")
    last, scores = np.ones((1, 5, 20), dtype=bool), np.random.default_rng(0).random((1, 5, 20), dtype=np.float32)
    for iteration in (2, 3):
        last = finishing.next_masks(scores, last, iteration)
        assert last[0].sum() == finishing.count(100, iteration) == other.count(100, iteration) < 100
    assert finishing.count(100, 4) == 100
    assert finishing.next_masks(scores, last, 4).all()


@given(kept=arrays.arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7))))
def test_masks_survive_packing_to_one_bit_per_pixel(kept, tmp_path_factory):
    path = tmp_path_factory.mktemp("mask") / "mask.h5"
    shape = kept.shape[1:]
    write_mask(path, iter([kept[:2], kept[2:]] if len(kept) > 2 else [kept]), shape, {"iteration": 2})
    with open_mask(path, len(kept), shape) as mask:
        assert np.array_equal(mask.read(), kept)
        assert mask.kept.fletcher32  # a damaged one is told
        assert mask.kept.shape == (len(kept), -(-kept[0].size // 8))
        assert mask.attributes["kept_share"] == pytest.approx(100 * kept.mean())
        assert mask.attributes["kept_pixels"] == kept.sum() // len(kept)
        assert mask.attributes["iteration"] == 2


def test_the_digest_is_of_all_bits_whatever_the_blocks(tmp_path):
    kept = np.random.default_rng(0).random((5, 4, 4)) > 0.5
    write_mask(tmp_path / "a.h5", iter([kept]), (4, 4), {})
    write_mask(tmp_path / "b.h5", iter([kept[:3], kept[3:]]), (4, 4), {})
    write_mask(tmp_path / "c.h5", iter([~kept]), (4, 4), {})
    digests = []
    for name in "abc":
        with open_mask(tmp_path / f"{name}.h5", 5, (4, 4)) as mask:
            digests.append(mask.attributes["digest"])
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(("count", "shape"), [(3, (4, 4)), (2, (2, 8))])
def test_a_mask_for_other_images_is_refused(count, shape, tmp_path):
    write_mask(tmp_path / "mask.h5", iter([np.ones((2, 4, 4), bool)]), (4, 4), {})
    expected = f"holds 2 masks of (4, 4) pixels, the data set has {count} training images of {shape}"
    with pytest.raises(InputError, match=f"{re.escape(expected)}$"), open_mask(tmp_path / "mask.h5", count, shape):
        pass


@pytest.mark.parametrize(
    ("kept", "found"), [(np.ones((2, 2)), "(2, 2) float64"), (np.ones((2, 3), np.uint8), "(2, 3) uint8")]
)
def test_a_mask_of_other_values_than_bits_of_its_pixels_is_refused(kept, found, tmp_path):
    write_mask(tmp_path / "mask.h5", iter([np.ones((2, 4, 4), bool)]), (4, 4), {})
    with edited_hdf5(tmp_path / "mask.h5") as file:
        del file["kept"]
        file["kept"] = kept
    refused = pytest.raises(InputError, match=re.escape(f"mask.h5: masks {found} are not of (4, 4) pixels"))
    with refused, open_mask(tmp_path / "mask.h5", 2, (4, 4)):
        pass
