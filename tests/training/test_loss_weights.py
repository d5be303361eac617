import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional

from experiments import training_arguments
from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.data.prepare import prepare_dataset
from spatial_reduction.masks.apply_mask import Removal
from spatial_reduction.masks.mask_file import write_mask
from spatial_reduction.masks.shrink import write_intact_mask
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.training.batches import load_images
from spatial_reduction.training.epoch import segmentation_loss
from spatial_reduction.training.loss_weights import border_term, class_weights, training_weights
from spatial_reduction.training.train import train_model

CPU = torch.device("cpu")
BORDERS = {"weight": 10, "sigma": 5}
ZERO = {"border_weight": {"weight": 0, "sigma": 5}}
PAPER = {"border_weight": BORDERS, "class_weights": "balanced"}


def brute_force(instances, weight, sigma):
    """The border term from the distances of every pixel to every border pixel."""
    grid = np.pad(instances.astype(int), 1, mode="edge")
    neighbours = [grid[:-2, 1:-1], grid[2:, 1:-1], grid[1:-1, :-2], grid[1:-1, 2:]]
    is_border = (instances > 0) & np.any([other != instances for other in neighbours], axis=0)
    place = np.stack(np.indices(instances.shape), axis=-1)
    distances = []
    for value in np.unique(instances[is_border]):
        border = place[is_border & (instances == value)]
        distances.append(np.linalg.norm(place[:, :, None] - border, axis=-1).min(axis=-1))
    if len(distances) < 2:
        return np.zeros(instances.shape)
    first, second = np.sort(distances, axis=0)[:2]
    return weight * np.exp(-((first + second) ** 2) / (2 * sigma**2))


def test_two_cells_on_a_line_have_the_weights_of_the_equation():
    instances = np.array([[1, 1, 0, 0, 0, 2]], dtype=np.uint16)
    sums = np.array([1 + 5, 0 + 4, 1 + 3, 2 + 2, 3 + 1, 4 + 0])  # to columns 1 and 5: column 0 is inside its cell
    expected = [10 * math.exp(-(total**2) / 50) for total in sums]
    assert border_term(instances, weight=10, sigma=5)[0] == pytest.approx(expected, rel=1e-6)


def test_touching_cells_weigh_most_where_they_touch():
    instances = np.array([[1, 1, 2, 2]], dtype=np.uint16)
    assert border_term(instances, 1, 1)[0] == pytest.approx(np.exp([-4.5, -0.5, -0.5, -4.5]), rel=1e-6)


@pytest.mark.parametrize("cells", [np.zeros((5, 6)), np.ones((5, 6)), np.eye(5)], ids=["none", "all", "one"])
def test_without_a_second_cell_there_is_no_border_term(cells):
    assert (border_term(cells.astype(np.uint16), 10, 5) == 0).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_the_term_ends_five_sigmas_around_each_cell(axis):
    instances = np.zeros((1, 11), dtype=np.uint16)
    instances[0, [1, 9]] = 1, 2
    instances = instances.T if axis == 0 else instances
    assert border_term(instances, 1, 0.9).reshape(-1).nonzero()[0].tolist() == [4, 5, 6]  # 4.5 pixels, rounded up
    assert border_term(instances, 1, 0.8).reshape(-1).nonzero()[0].tolist() == [5]


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), sigma=st.sampled_from([0.7, 2, 5]))
def test_the_term_is_that_of_brute_force_distances(seed, sigma):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 5, (5, 6)) * (rng.random((5, 6)) < 0.6)
    instances = np.repeat(np.repeat(coarse, 4, axis=0), 3, axis=1).astype(np.uint16)
    assert border_term(instances, 10, sigma) == pytest.approx(brute_force(instances, 10, sigma), abs=10 * 4e-6)


def test_rare_classes_weigh_more_and_the_mean_over_pixels_is_one():
    counts = np.zeros(256, dtype=np.int64)
    counts[[0, 1, 2, 255]] = 60, 30, 10, 50
    weights = class_weights(counts)
    assert weights[[0, 1, 2]] == pytest.approx([100 / 180, 100 / 90, 100 / 30])
    assert (weights[[0, 1, 2]] * counts[[0, 1, 2]]).sum() == pytest.approx(100)
    assert weights[3] == weights[255] == 1


def test_the_weighted_loss_of_two_pixels_by_hand():
    logits = torch.tensor([[0.5, 0.25, 0.9], [0.5, 0.75, 0.1]]).log().reshape(1, 2, 1, 3)
    labels = torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)
    loss = segmentation_loss(logits, labels, torch.tensor([[[3.0, 0.5, 9.0]]]))
    assert loss.item() == pytest.approx((3 * math.log(2) - 0.5 * math.log(0.75)) / 2, rel=1e-6)


def test_class_weights_alone_are_those_of_pytorch():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8), dtype=torch.uint8)
    weights = class_weights(np.bincount(labels.flatten(), minlength=256))
    expected = functional.cross_entropy(logits, labels.long(), torch.from_numpy(weights[:3]), reduction="sum") / 128
    assert segmentation_loss(logits, labels, torch.from_numpy(weights)[labels.long()]).item() == pytest.approx(
        expected.item(), rel=1e-6
    )


@pytest.fixture(scope="module")
def cells(config, tmp_path_factory):
    """A data set of 3 + 1 + 2 pictures of 16 x 16 pixels, each with three cells."""
    root = tmp_path_factory.mktemp("cells")
    for folder in ("images", "instances"):
        (root / folder).mkdir()
    for index in range(6):
        values = np.zeros((16, 16), dtype=np.uint16)
        values[2:7, 1 : 4 + index], values[2:7, 6 + index : 14], values[10:15, 3:12] = 5, 6, 7
        Image.fromarray(values).save(root / "instances" / f"{index}.png")
        Image.fromarray((values * 30).astype(np.uint8)).save(root / "images" / f"{index}.png")
    section = copy.deepcopy(config["dataset"])
    section |= {"source": "instances", "image_size": 16, "colour": "grey"}
    section["classes"] = [{"name": "background", "labels": [0]}, {"name": "cell", "labels": [1, 2]}]
    section["split"] |= {"method": "ordered", "validation_share": 17, "test_share": 34}
    section["instances"] = {"components_of": None, "border": 1}
    prepare_dataset(root, root / "dataset.h5", section, threads=1)
    return Dataset.open(root / "dataset.h5")


@pytest.fixture
def mask(cells, tmp_path):
    """Rows 2 to 6 are kept."""
    kept = np.zeros((3, 16, 16), dtype=bool)
    kept[:, 2:7, 1:13] = True
    write_mask(tmp_path / "mask.h5", iter([kept]), (16, 16), {})
    return tmp_path / "mask.h5", kept


def test_the_weights_of_a_split_are_both_terms_of_each_image(cells):
    weights = training_weights(cells, PAPER)
    labels, objects = cells.pick("train", range(3))[1], cells.instances("train")
    of_class = class_weights(np.bincount(labels.reshape(-1), minlength=256))
    expected = [of_class[labels[i]] + brute_force(objects[i], 10, 5) for i in range(3)]
    assert weights.dtype == np.float32
    assert weights == pytest.approx(np.stack(expected), abs=1e-4)
    assert training_weights(cells, PAPER | ZERO) == pytest.approx(of_class[labels])


def test_classes_weigh_what_is_said_and_1_if_nothing_is(cells):
    labels = cells.pick("train", range(3))[1]
    weights = training_weights(cells, {"class_weights": {"cell": 2.5}})
    assert np.array_equal(weights, np.where(labels == 1, np.float32(2.5), np.float32(1)))


def test_no_weights_are_the_plain_loss_exactly(cells, mask):
    assert training_weights(cells, None) is None
    assert training_weights(cells, ZERO) is None
    images, _ = load_images(cells, mask[0], Removal(), 1, CPU, 2, ZERO)
    assert [len(batch) for batch in images.batches(torch.arange(3), 2)] == [2, 2]


def test_a_border_term_without_objects_is_refused(dataset):
    with pytest.raises(InputError, match="holds no instances"):
        training_weights(dataset, PAPER)
    assert training_weights(dataset, PAPER | ZERO).shape == (10, 16, 16)


@pytest.mark.parametrize("removal", [{}, {"removes": "loss"}, {"intact_share": 50}, {"crop": True}], ids=str)
def test_weights_stay_beside_their_pixels_in_every_batch(cells, mask, removal):
    path, kept = mask
    weights = training_weights(cells, PAPER)
    order = torch.tensor([2, 0, 1])
    images, _ = load_images(cells, path, Removal(**removal), 1, CPU, 2, PAPER)
    _, labels, weighed = (torch.cat(parts) for parts in zip(*images.batches(order, 3), strict=True))
    if removal == {"crop": True}:  # windows of rows 2 to 7 and columns 1 to 12
        assert labels.shape == weighed.shape == (3, 6, 12)
        assert np.array_equal(weighed, weights[order][:, 2:8, 1:13])
    else:
        assert np.array_equal(weighed, weights[order])
    if removal == {"removes": "loss"}:
        assert np.array_equal(labels == 255, ~kept)


def test_a_pixel_of_weight_zero_has_no_gradient():
    labels = torch.zeros((1, 4, 4), dtype=torch.uint8)
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    weights = torch.zeros(1, 4, 4)
    weights[0, 1, 2] = 7
    segmentation_loss(logits, labels, weights).backward()
    assert (logits.grad.abs().sum(dim=1) > 0).nonzero().tolist() == [[0, 1, 2]]


def test_weights_change_the_training_but_not_what_validation_measures(cells, config, tmp_path):
    write_intact_mask(cells.path, tmp_path / "mask.h5")
    histories = {}
    for name, weights in {"plain": {}, "zero": ZERO, "paper": PAPER}.items():
        training = config["training"] | {"epochs": 1, "batch_size": 3, "learning_rate": 1e-12, "device": "cpu"}
        training |= weights
        train_model(**training_arguments(cells.path, tmp_path, name, training, start="scratch"))
        histories[name] = pd.read_csv(tmp_path / f"{name}.csv")
    losses = {name: table[["train_loss", "validation_loss"]].iloc[0].tolist() for name, table in histories.items()}
    train_model(
        **training_arguments(cells.path, tmp_path, "next", training, previous="plain")
    )  # one channel, two classes
    assert losses["zero"] == losses["plain"]
    assert losses["paper"][0] > 1.5 * losses["plain"][0]
    assert losses["paper"][1] == pytest.approx(losses["plain"][1], rel=1e-6)
