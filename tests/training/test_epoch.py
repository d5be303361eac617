import numpy as np
import pytest
import torch

from spatial_reduction.networks.inference import to_input
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.training.batches import Images
from spatial_reduction.training.epoch import Trainer, choose_precision, segmentation_loss
from spatial_reduction.training.image_store import InMemory
from spatial_reduction.training.optimizer import Optimizer


class PixelNetwork(torch.nn.Conv2d):
    """Tells the class of a pixel from its own colour."""

    def training_pass(self, images, labels, windows):
        return self(images), labels


def trainer(weights=None):
    """A training on 11 images of 4 x 6 pixels in batches of 4; 5 others, in blocks of 2, to validate."""
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (16, 4, 6, 3), dtype=torch.uint8)
    labels = torch.randint(0, 4, (16, 4, 6), dtype=torch.uint8)
    labels[labels == 3] = 255
    network, where = PixelNetwork(3, 3, 1), torch.device("cpu")
    settings = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.01, "weight_decay": 0.0}
    return Trainer(
        network=network,
        optimizer=Optimizer(network.parameters(), settings),
        train=Images(InMemory((pixels[:11], labels[:11], *([] if weights is None else [weights]))), where),
        validation=Images(InMemory((pixels[11:], labels[11:])), where),
        augment=None,
        precision="float32",
        batch_size=4,
        block=2,
        classes=3,
        seed=1,
    )


def test_the_loss_of_one_labelled_pixel_is_minus_its_log_probability():
    logits = torch.tensor([0.2, 0.5, 0.3]).log().reshape(1, 3, 1, 1).expand(1, 3, 1, 2)
    labels = torch.tensor([[[1, 255]]], dtype=torch.uint8)
    assert segmentation_loss(logits, labels).item() == pytest.approx(-np.log(0.5), rel=1e-6)


def test_a_batch_without_a_labelled_pixel_has_loss_zero():
    assert segmentation_loss(torch.rand(1, 3, 2, 2), torch.full((1, 2, 2), 255, dtype=torch.uint8)).item() == 0


def test_every_step_has_its_own_rate():
    each, rates, moved = trainer(), [0.1, 0.1, 0.3], []
    step = each.optimizer.step

    def noted():
        before = each.network.bias.detach().clone()
        step()
        moved.append(float((before - each.network.bias.detach()).norm() / each.network.bias.grad.norm()))

    each.optimizer.step = noted
    each.take_steps(torch.arange(11), 1, rates)
    assert moved == pytest.approx(rates, rel=1e-3)


def test_the_first_batch_whose_loss_is_not_finite_is_named():
    weights = torch.ones(11, 4, 6)
    weights[5] = float("nan")  # in the second batch of three; from there on the network's weights are none
    told = r"not finite in batch 2 \(cumulative epoch 7, seed 1, learning rate 0\.03\); a lower training\.learning_rate"
    with pytest.raises(InputError, match=told):
        trainer(weights).take_steps(torch.arange(11), 7, [0.01, 0.02, 0.03])


def test_a_validation_whose_loss_is_not_finite_ends_the_training():
    each = trainer()
    each.take_steps = lambda *_: torch.nn.init.constant_(each.network.bias, float("inf"))
    with pytest.raises(InputError, match=r"not finite on the validation images \(cumulative epoch 7, seed 1"):
        each.run_epoch(7, [0.01] * 3)


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_a_training_rounds_factors_where_its_precision_says_so(precision, monkeypatch):
    each, told = trainer(), []
    each.precision = precision
    monkeypatch.setattr("spatial_reduction.training.epoch.set_tf32", told.append)
    each.run_epoch(1, [0.01] * 3)
    assert told == [precision == "tf32"]


def test_a_validation_counts_every_image_whatever_its_block():
    each = trainer()
    scores = each._validate()
    pixels, labels = each.validation.store.tensors
    logits = each.network(to_input(pixels)).detach()
    expected = np.zeros((5, 3, 3), int)
    for image, row, column in zip(*np.nonzero(labels.numpy() != 255), strict=True):
        expected[image, labels[image, row, column], logits[image, :, row, column].argmax()] += 1
    assert each.validation_counts.tolist() == expected.tolist()
    assert scores["validation_loss"] == pytest.approx(segmentation_loss(logits, labels).item(), rel=1e-6)


def test_a_validation_without_a_labelled_pixel_has_loss_zero():
    each = trainer()
    each.validation.store.tensors[1].fill_(255)
    assert each._validate()["validation_loss"] == 0


@pytest.mark.parametrize(("emulates", "expected"), [(False, "bfloat16"), (True, "float32")])
def test_a_gpu_trains_in_bfloat16_if_it_has_that_itself(emulates, expected, monkeypatch):
    def is_supported(including_emulation=True):
        return including_emulation or not emulates

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    assert choose_precision("auto", torch.device("cuda")) == expected
    assert choose_precision("tf32", torch.device("cuda")) == "tf32"
