import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from spatial_reduction.networks.mirror_padding import reflected
from spatial_reduction.networks.window_sampling import cut_windows, draw_balanced


@given(side=st.integers(1, 9), margin=st.integers(0, 30))
def test_mirrored_positions_are_those_of_numpy(side, margin):
    assert reflected(side, margin, margin).tolist() == np.pad(np.arange(side), margin, mode="reflect").tolist()


def test_windows_hold_what_surrounds_their_pixel():
    images = torch.arange(2 * 3 * 4).reshape(2, 1, 3, 4)
    image, row, column = torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([1, 3])
    windows = cut_windows(images, image, row, column, side=3)
    assert windows[0, 0].tolist() == [[0, 1, 2], [4, 5, 6], [8, 9, 10]]
    assert windows[1, 0].tolist() == [[18, 19, 18], [14, 15, 14], [18, 19, 18]]  # a corner, mirrored


@given(count=st.integers(1, 50), seed=st.integers(0, 5))
def test_classes_are_drawn_equally_and_ignored_pixels_never(count, seed):
    labels = torch.full((3, 6, 7), 255, dtype=torch.uint8)
    labels[0, 2, 3], labels[1, :, :2], labels[2, 1:] = 4, 0, 2  # class 4 has one pixel, 1 and 3 have none
    torch.manual_seed(seed)
    drawn = labels[draw_balanced(labels, count)]
    numbers = [int((drawn == value).sum()) for value in (0, 2, 4)]
    assert sum(numbers) == len(drawn) == count
    assert max(numbers) - min(numbers) <= 1


def test_every_pixel_of_a_class_is_drawn_equally_often():
    labels = torch.tensor([[[0, 0, 1], [0, 0, 255]]], dtype=torch.uint8)
    torch.manual_seed(0)
    _, row, column = draw_balanced(labels, 8000)
    times = torch.bincount(row * 3 + column, minlength=6)
    assert times[[2, 5]].tolist() == [4000, 0]
    assert (times[[0, 1, 3, 4]] - 1000).abs().max() < 4 * 1000**0.5  # four standard deviations
