import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spatial_reduction.masks.crop import Windows, tight_boxes

KEPT = np.array(
    [
        [[0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]],
        [[0, 0, 0, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]],
        [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1]],
    ],
    dtype=bool,
)


def test_boxes_of_hand_made_masks():
    assert tight_boxes(KEPT).tolist() == [[1, 1, 2, 3], [0, 0, 4, 4], [3, 4, 1, 1]]


def test_an_image_that_keeps_nothing_has_no_box():
    with pytest.raises(ValueError, match="keeps no pixel"):
        tight_boxes(np.stack([np.eye(4, dtype=bool), np.zeros((4, 4), dtype=bool)]))


def pictures(count, height, width=None):
    """Images whose pixels hold their own row and column, labels all 1."""
    rows, columns = np.mgrid[:height, : width or height].astype(np.uint8)
    pixels = torch.from_numpy(np.stack([rows, columns], axis=-1)).expand(count, -1, -1, -1)
    return pixels, torch.ones((count, *rows.shape), dtype=torch.uint8)


def test_a_window_holds_its_box_in_the_middle_and_labels_nothing_else():
    windows = Windows(torch.tensor([[5, 6, 3, 4]]), stride=4)
    pixels, labels = windows.cut(*pictures(1, 16), chosen=torch.tensor([0]))
    assert pixels.shape == (1, 4, 4, 2)
    assert pixels[0, :, 0, 0].tolist() == [5, 6, 7, 8]  # one row more than the box has
    assert pixels[0, 0, :, 1].tolist() == [6, 7, 8, 9]
    assert (labels[0, :3] == 1).all()
    assert (labels[0, 3] == 255).all()


def test_windows_of_one_batch_have_the_size_of_the_largest_and_stay_inside():
    windows = Windows(torch.tensor([[15, 0, 1, 1], [2, 4, 9, 6]]), stride=4)
    pixels, labels = windows.cut(*pictures(2, 16), chosen=torch.tensor([0, 1]))
    assert pixels.shape == (2, 12, 8, 2)
    assert pixels[0, :, 0, 0].tolist() == list(range(4, 16))
    assert pixels[0, 0, :, 1].tolist() == list(range(8))
    assert np.argwhere(labels[0].numpy() != 255).tolist() == [[11, 0]]
    assert int((labels[1] != 255).sum()) == 9 * 6


def test_a_window_is_at_least_a_quarter_of_the_side():
    windows = Windows(torch.tensor([[0, 0, 1, 1]]), stride=2)
    assert windows.cut(*pictures(1, 32), chosen=torch.tensor([0]))[1].shape == (1, 8, 8)
    windows = Windows(torch.tensor([[10, 12, 1, 1]]), stride=2)
    pixels, _ = windows.cut(*pictures(1, 32), chosen=torch.tensor([0]))
    assert pixels[0, :, 0, 0].tolist() == list(range(7, 15))  # seven more than the box has, three of them before it
    assert pixels[0, 0, :, 1].tolist() == list(range(9, 17))


def test_windows_have_few_sizes():
    def sizes(side, stride, extents):
        windows = Windows(torch.tensor([[0, 0, extent, extent] for extent in extents]), stride)
        cut = [windows.cut(*pictures(1, side), chosen=torch.tensor([index]))[1] for index in range(len(extents))]
        return {tuple(labels.shape[1:]) for labels in cut}

    assert sizes(64, 2, range(1, 65)) == {(side, side) for side in range(16, 65, 4)}  # a sixteenth of 64 is 4
    assert sizes(40, 1, [1, 40]) == {(12, 12), (40, 40)}  # not 42, though a sixteenth of 40 is 3
    assert sizes(18, 1, [1]) == {(6, 6)}  # a quarter of 18 is 5, a sixteenth 2
    assert sizes(272, 1, [69, 100, 271]) == {(85, 85), (102, 102), (272, 272)}  # a sixteenth of 272 is 17


@given(seed=st.integers(0, 1000), stride=st.sampled_from([1, 2, 4, 8]))
def test_every_kept_pixel_is_in_its_window_with_its_label(seed, stride):
    rng = np.random.default_rng(seed)
    kept = rng.random((3, 16, 24)) < rng.choice([0.01, 0.1])
    kept[:, 3, 5] = True
    _, labels = pictures(3, 16, 24)
    pixels = torch.from_numpy(kept.astype(np.uint8))[..., None]
    cut, labelled = Windows(torch.from_numpy(tight_boxes(kept)), stride).cut(pixels, labels, chosen=torch.arange(3))
    assert torch.equal(cut.sum(dim=(1, 2, 3)), torch.from_numpy(kept.sum(axis=(1, 2))))
    assert (labelled[cut[..., 0] == 1] == 1).all()
    assert all(size % stride == 0 for size in labelled.shape[1:])


@given(count=st.integers(1, 300), size=st.integers(1, 9), seed=st.integers(0, 5))
def test_groups_are_as_many_batches_with_every_image_once_by_the_order_alone(count, size, seed):
    rng = np.random.default_rng(seed)
    boxes = torch.from_numpy(rng.integers(1, 65, (count, 4)))
    order = torch.from_numpy(rng.permutation(count))
    groups = Windows(boxes, 4).group(order, size)
    assert len(groups) == -(-count // size)
    assert sum(len(group) == size for group in groups) >= count // size
    assert sorted(torch.cat(groups).tolist()) == list(range(count))
    assert all(torch.equal(*pair) for pair in zip(groups, Windows(boxes, 4).group(order, size), strict=True))


def test_images_of_similar_box_come_together():
    boxes = torch.tensor([[0, 0, side, side] for side in (8, 64) * 8])
    groups = Windows(boxes, 4).group(torch.from_numpy(np.random.default_rng(0).permutation(16)), 4)
    assert all(len(boxes[group, 2].unique()) == 1 for group in groups)


def test_images_are_sorted_among_those_of_sixteen_batches_and_no_more():
    sides = torch.full((34,), 64)
    sides[[0, 33]] = 8  # alike, and seventeen batches of two apart
    boxes = torch.stack([torch.zeros_like(sides)] * 2 + [sides] * 2, dim=1)
    assert sorted(Windows(boxes, 4).group(torch.arange(34), 2)[-1].tolist()) == [32, 33]


def test_batches_come_in_the_order_of_their_smallest_images_by_the_longer_side():
    boxes = torch.tensor([[0, 0, 1, 64], [0, 0, 32, 9], [9, 9, 8, 8], [0, 0, 16, 60], [0, 0, 9, 48], [0, 0, 40, 1]])
    groups = Windows(boxes, 4).group(torch.tensor([4, 1, 0, 5, 3, 2]), 2)  # ranked: 2 and 1, 5 and 4, 3 and 0
    assert [group.tolist() for group in groups] == [[5, 4], [3, 0], [2, 1]]


def test_boxes_of_equal_size_keep_the_order():
    boxes, order = (
        torch.tensor([[0, 0, 16, 16]]).expand(40, 4),
        torch.from_numpy(np.random.default_rng(0).permutation(40)),
    )
    assert torch.equal(torch.cat(Windows(boxes, 4).group(order, 4)), order)
