import time

import h5py
import numpy as np
import pytest
import torch

from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.masks.apply_mask import Removal, fill_removed
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.training.batches import load_images
from spatial_reduction.training.image_store import AHEAD, read_ahead

CPU = torch.device("cpu")


@pytest.mark.parametrize("removes", ["input", "loss", "input_and_loss"])
def test_removed_pixels_leave_the_input_the_loss_or_both(dataset, half, removes):
    path, kept = half
    images, labels = dataset.pick("train", range(10))
    shown, _ = load_images(dataset, path, Removal(removes=removes), 1, CPU, stride=2)
    black = fill_removed(images, kept, "black", dataset.mean, 1, range(10))
    assert np.array_equal(shown.store.tensors[0], images if removes == "loss" else black)
    assert np.array_equal(shown.store.tensors[1], labels if removes == "input" else np.where(kept, labels, 255))


@pytest.mark.parametrize("fill", ["mean", "noise"])
def test_what_stands_for_removed_pixels_is_of_the_training_s_seed_and_data(dataset, half, fill):
    path, kept = half
    shown, _ = load_images(dataset, path, Removal(fill=fill), 3, CPU, stride=2)
    images, _ = dataset.pick("train", range(10))
    assert np.array_equal(shown.store.tensors[0], fill_removed(images, kept, fill, dataset.mean, 3, range(10)))


def test_a_shown_mask_is_white_where_kept_and_holds_nothing_of_the_image(dataset, half):
    path, kept = half
    shown, _ = load_images(dataset, path, Removal(fill="mask"), 1, CPU, stride=2)
    assert np.array_equal(shown.store.tensors[0], np.where(kept[..., None], 255, 0).repeat(3, axis=3))
    assert np.array_equal(shown.store.tensors[1], dataset.pick("train", range(10))[1])


def test_a_file_that_is_damaged_while_it_is_read_ahead_is_named(dataset_path, half, tmp_path):
    copy = tmp_path / "dataset.h5"
    content = bytearray(dataset_path.read_bytes())
    with h5py.File(dataset_path) as file:
        place = file["images"].id.get_chunk_info(0).byte_offset
    content[place + 100] ^= 1
    copy.write_bytes(content)
    images, _ = load_images(Dataset.open(copy), half[0], Removal(), 1, CPU, stride=2, memory_mb=0.01)
    with pytest.raises(InputError, match=r"dataset\.h5: damaged, a checksum differs"):
        list(images.batches(torch.arange(10), 4))


def test_reading_ahead_keeps_the_order_and_stops_when_nobody_reads_on():
    asked = []

    def items():
        for number in range(100):
            asked.append(number)
            time.sleep(1e-4)  # a second thread would come in between
            yield number

    assert list(read_ahead(items())) == list(range(100))
    asked.clear()
    some = read_ahead(items())
    assert [next(some), next(some)] == [0, 1]
    some.close()
    assert len(asked) == 2 + AHEAD == 6
