"""Every job under deterministic algorithms, and the operations that a GPU would meet there."""

import os

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from experiments import PROTOCOLS, equal
from spatial_reduction.networks.model_file import build_model, save_model
from spatial_reduction.runtime.determinism import WORKSPACE, set_determinism
from spatial_reduction.runtime.device import Machine
from spatial_reduction.saliency.base import Context, stream_scores
from spatial_reduction.training.augmentation import build_augmentation
from spatial_reduction.training.epoch import segmentation_loss

MODELS = {
    "unet": {"name": "unet", "widths": [2, 4]},
    "valid": {"name": "unet", "widths": [2, 4], "padding": "valid", "dropout": 0.5},
    "sliding_window": {"name": "sliding_window", "widths": [3, 4, 5], "window": 13},
}
ALL_AUGMENTATION = ["flip", "colour", "elastic", "shift", "rotate", "grid_elastic", "grey"]
SOURCES = ["probability", "entropy", "grad_cam", "iterative_grad_cam", "integrated_gradients", "superpixel", "active"]

# What raises on CUDA in deterministic mode: the second list of torch.use_deterministic_algorithms (PyTorch 2.15), by
# the names of the operations that are dispatched. One that is listed "when attempting to differentiate" raises in its
# gradient.
RAISES = {
    "avg_pool3d_backward",
    "_adaptive_avg_pool2d_backward",
    "_adaptive_avg_pool3d_backward",
    "adaptive_max_pool2d_backward",
    "fractional_max_pool2d_backward",
    "fractional_max_pool3d_backward",
    "max_unpool2d",
    "max_unpool3d",
    "upsample_linear1d_backward",
    "upsample_bilinear2d_backward",
    "upsample_bicubic2d_backward",
    "upsample_trilinear3d_backward",
    "_upsample_bilinear2d_aa_backward",
    "_upsample_bicubic2d_aa_backward",
    "reflection_pad1d_backward",
    "reflection_pad2d_backward",
    "reflection_pad3d_backward",
    "_ctc_loss_backward",
    "_embedding_bag_backward",
    "put_",
    "histc",
    "median",
    "nanmedian",
    "grid_sampler_2d_backward",
    "grid_sampler_3d_backward",
    "scatter_reduce",
    "index_reduce",
    "kthvalue",
}


class Dispatched(TorchDispatchMode):
    """Collects the operations that are computed, gradients included, and those that would raise on CUDA."""

    def __init__(self):
        super().__init__()
        self.names, self.raising = set(), set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = operation.overloadpacket.__name__
        self.names.add(name)
        given = {argument.name: value for argument, value in zip(operation._schema.arguments, args, strict=False)}
        given |= kwargs
        is_weighted = name == "bincount" and given.get("weights") is not None
        # NLLLoss is listed without conditions; its kernel of images uses atomics unless the reduction is none, 0.
        is_summed = name == "nll_loss2d_forward" and given["reduction"] != 0
        if name.rstrip("_") in {each.rstrip("_") for each in RAISES} or is_weighted or is_summed:
            self.raising.add(name)
        return operation(*args, **kwargs)


@pytest.fixture
def deterministic(monkeypatch):
    """The mode as a job sets it; afterwards everything is as before."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    set_determinism(True)
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def test_asked_for_it_is_on_everywhere(deterministic):
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == WORKSPACE


def test_not_asked_for_nothing_changes(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    set_determinism(False)
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_a_workspace_that_the_user_chose_stays(monkeypatch, deterministic):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    set_determinism(True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_an_operation_without_a_deterministic_algorithm_is_seen():
    image = torch.rand(1, 1, 4, 4, requires_grad=True)
    with Dispatched() as seen:
        functional.interpolate(image, scale_factor=2, mode="bilinear").sum().backward()
        functional.cross_entropy(torch.rand(1, 2, 3, 3), torch.zeros(1, 3, 3, dtype=torch.long), reduction="sum")
        torch.bincount(torch.tensor([0, 1]), weights=torch.tensor([1.0, 2.0]))
    assert seen.raising == {"upsample_bilinear2d_backward", "nll_loss2d_forward", "bincount"}


@pytest.mark.parametrize(("name", "weighted"), [("unet", False), ("valid", True), ("sliding_window", False)])
def test_a_training_step_calls_nothing_that_differs_from_run_to_run(deterministic, name, weighted):
    network = build_model(3, 3, MODELS[name], seed=1)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 3, (2, 16, 16), dtype=torch.uint8, generator=generator)
    planes = [labels, torch.rand(2, 16, 16)] if weighted else [labels]
    with Dispatched() as seen:
        images, labels, *weights = build_augmentation(ALL_AUGMENTATION, 16)(images, *planes)
        logits, chosen = network.training_pass(images.permute(0, 3, 1, 2).float().div(255), labels, windows=4)
        segmentation_loss(logits, chosen, *weights).backward()
    assert {"convolution_backward", "max_pool2d_with_indices_backward"} <= seen.names
    assert seen.raising == set()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_source_of_saliency_calls_nothing_that_differs_from_run_to_run(deterministic, model, source, tmp_path):
    save_model(tmp_path / "m", build_model(3, 3, model, seed=1))
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    context = Context(tmp_path / "m", Machine("cpu", 1, True), 3, [1], seed=1, iteration=2)
    with Dispatched() as seen:
        next(stream_scores(source, [(images, np.zeros((2, 16, 16), np.uint8))], context))
    assert {"convolution", "conv2d"} & seen.names
    assert {"convolution", "conv2d"} & seen.names
    assert seen.raising == set()


def test_an_evaluation_calls_nothing_that_differs_from_run_to_run(deterministic, evaluate):
    with Dispatched() as seen:
        evaluate(protocols=PROTOCOLS, test_time_augmentation=8, deterministic=True)
    assert seen.raising == set()


def test_a_deterministic_training_repeats_itself_and_differs_by_rounding_alone(train, deterministic):
    asked = {"training": {"deterministic": True}}
    with Dispatched() as seen:  # validation, optimiser and all
        first, _ = train("first", **asked)
    assert seen.raising == set()
    again, _ = train("again", **asked)
    assert equal(first, again)
    torch.use_deterministic_algorithms(False)
    plain, _ = train("plain")
    assert all(torch.allclose(first[name], plain[name], atol=1e-3) for name in first)


def test_the_loss_is_the_same_sum_in_both_modes(deterministic):
    logits, labels = torch.randn(2, 3, 5, 7), torch.randint(0, 3, (2, 5, 7), dtype=torch.uint8)
    labels[0, 0, 0] = 255
    asked = segmentation_loss(logits, labels)
    torch.use_deterministic_algorithms(False)
    assert asked.item() == pytest.approx(segmentation_loss(logits, labels).item(), rel=1e-6)
    assert segmentation_loss(logits, torch.full_like(labels, 255)).item() == 0
