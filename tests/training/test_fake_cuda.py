"""Trainings, predictions and sources of saliency on pretended CUDA tensors, which have shapes and a device, no values.

An operation on tensors of two devices and one that waits for a value raise here as they do on a GPU. Gradients are
pretended, too (PyTorch's engine asks for a real device), and the optimisers' fused kernels are left out, which have no
rule for pretended tensors.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    unset_fake_temporarily,
)

from spatial_reduction.networks.inference import compute_logits, to_input
from spatial_reduction.networks.model_file import build_model
from spatial_reduction.saliency.entropy import score_entropy
from spatial_reduction.saliency.grad_cam import map_activation
from spatial_reduction.saliency.integrated_gradients import score_attributions
from spatial_reduction.saliency.probability import score_probability
from spatial_reduction.training.augmentation import build_augmentation
from spatial_reduction.training.batches import Images
from spatial_reduction.training.epoch import Trainer
from spatial_reduction.training.image_store import InMemory
from spatial_reduction.training.optimizer import Optimizer

CUDA = torch.device("cuda", 0)
AUGMENTATION = ["flip", "colour", "elastic", "shift", "rotate", "grid_elastic", "grey"]
SETTINGS = {"optimizer": "adam", "momentum": 0.9, "learning_rate": 0.01, "weight_decay": 0.0}
NETWORKS = {
    "padded": {"name": "unet", "widths": [2, 4]},
    "published": {"name": "unet", "widths": [2, 4], "padding": "valid", "dropout": 0.5, "initialisation": "he"},
    "sliding_window": {"name": "sliding_window", "widths": [2, 3, 4], "window": 13},
    "encoder": {
        "name": "encoder_unet",
        "encoder": "tf_efficientnet_lite0",
        "weights": None,
        "widths": [4, 8],
        "freeze_normalisation": False,
    },
}
ON_WHOLE_IMAGES = ["padded", "published", "encoder"]
# Those that compute on the device from end to end: where glimpses and further passes go depends on values.
SOURCES = {
    "probability": lambda network, images: score_probability(network, images, [1, 2]),
    "entropy": score_entropy,
    "grad_cam": lambda network, images: map_activation(network, images, [1, 2]),
    "integrated_gradients": lambda network, images: score_attributions(network, images, [1, 2]),
}


@pytest.fixture
def cuda(monkeypatch):
    """Pretend: tensors made within, gradients, and copies to the device."""

    def backward(loss):
        for parameter in network_of[0].parameters():
            parameter.grad = torch.empty_like(parameter)

    def gradients(outputs, inputs, *_, **__):
        return tuple(torch.empty_like(each) for each in ([inputs] if isinstance(inputs, torch.Tensor) else inputs))

    def step(optimizer):
        tensors = [*optimizer.state.values(), optimizer._rate, *(each.grad for each in optimizer.parameters)]
        assert {tensor.device for tensor in tensors} == {CUDA}

    monkeypatch.setattr(Optimizer, "step", step)
    monkeypatch.setattr(torch.Tensor, "backward", backward)
    monkeypatch.setattr(torch.autograd, "grad", gradients)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    with FakeTensorMode():
        yield


network_of = [None]


def pretended(name):
    """A network whose weights are on the pretended device."""
    with torch.device("cpu"), unset_fake_temporarily():
        network = build_model(3, 3, NETWORKS[name], seed=1)
    for module in network.modules():
        for kind in (module._parameters, module._buffers):
            for key, tensor in kind.items():
                if tensor is not None:
                    there = torch.empty(tensor.shape, dtype=tensor.dtype, device=CUDA)
                    kind[key] = torch.nn.Parameter(there) if kind is module._parameters else there
    network_of[0] = network
    return network


def pictures(count=11, side=16, device=CUDA):
    return torch.zeros((count, side, side, 3), dtype=torch.uint8, device=device)


def trainer(name, where=CUDA, weights=False, precision="float32", **changes):
    """A training of which `where` says on which device its images lie."""
    network = pretended(name)
    tensors = [pictures(device=where), torch.zeros((11, 16, 16), dtype=torch.uint8, device=where)]
    tensors += [torch.ones((11, 16, 16), device=where)] if weights else []
    settings = {
        "network": network,
        "optimizer": Optimizer(network.parameters(), SETTINGS | changes.pop("optimizer", {})),
        "train": Images(InMemory(tuple(tensors)), CUDA),
        "validation": Images(InMemory(tuple(tensors[:2])), CUDA),
        "augment": None,
        "precision": precision,
        "batch_size": 4,
        "block": 3,
        "classes": 3,
        "seed": 1,
        "is_filled": True,
    }
    return Trainer(**(settings | changes))


@pytest.mark.parametrize("where", [CUDA, torch.device("cpu")], ids=["on the device", "on the host"])
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("padded", {}),
        ("padded", {"optimizer": {"optimizer": "sgd"}}),
        ("padded", {"augment": True, "weights": True}),
        ("published", {"weights": True, "with_dice": True}),
        ("encoder", {"augment": True, "with_dice": True}),
    ],
    ids=str,
)
def test_steps_run_on_one_device_and_wait_for_no_value(cuda, name, changes, where):
    changes = dict(changes)
    if changes.pop("augment", False):
        changes["augment"] = build_augmentation(AUGMENTATION, 16)
    each = trainer(name, where, **changes)
    order = torch.arange(11)
    for batch in each.train.batches(order, 4):
        assert all(tensor.device == CUDA for tensor in batch)
        loss = each._take(each._filled(batch))
        assert (loss.device, loss.shape) == (CUDA, ())


@pytest.mark.parametrize("name", ON_WHOLE_IMAGES)
@pytest.mark.parametrize("where", [CUDA, torch.device("cpu")], ids=["on the device", "on the host"])
def test_a_validation_waits_for_its_sums_alone(cuda, name, where):
    each = trainer(name, where)
    with pytest.raises((DataDependentOutputException, RuntimeError), match=r"numpy\(\)"):
        each._validate()  # what goes to the program, at its end


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("side", [16, 61])
def test_a_prediction_waits_for_the_check_that_its_logits_are_finite_alone(cuda, name, side, monkeypatch):
    network = pretended(name).eval()
    checked = []

    def all_are(values):
        checked.append((values.device, values.shape))
        return True

    monkeypatch.setattr(torch.Tensor, "isfinite", lambda logits: SimpleNamespace(all=lambda: all_are(logits)))
    monkeypatch.setattr(torch, "from_numpy", lambda array: pictures(len(array), array.shape[1], "cpu"))
    sides = side if NETWORKS[name]["name"] == "sliding_window" else side // network.stride * network.stride
    logits = compute_logits(network, np.zeros((2, sides, sides, 3), np.uint8), CUDA)
    assert checked == [(CUDA, (2, 3, sides, sides))] == [(logits.device, logits.shape)]


def test_a_step_on_windows_asks_for_values_and_is_therefore_not_recorded(cuda):
    each = trainer("sliding_window", windows=8)
    with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
        each.take_step(*next(each.train.batches(torch.arange(11), 4)))


def test_tensors_of_two_devices_are_refused(cuda):
    with pytest.raises(RuntimeError, match=r"device.*cpu|cpu.*device"):
        pictures() + pictures(device="cpu")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_source_of_saliency_stays_on_the_device(cuda, name, source):
    network = pretended(name).eval().requires_grad_(False)
    images = to_input(pictures(2, 128))
    scores = SOURCES[source](network, images)
    assert (scores.device, scores.shape) == (CUDA, (2, 128, 128))
