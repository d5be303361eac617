import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from spatial_reduction.networks.model_file import build_model
from spatial_reduction.training.batches import Images
from spatial_reduction.training.cuda_graph import WARM_UP, GraphRecorder, ReplayedStep, record_call
from spatial_reduction.training.epoch import Trainer
from spatial_reduction.training.image_store import InMemory
from spatial_reduction.training.optimizer import Optimizer

SETTINGS = {"optimizer": "adam", "momentum": 0.9, "learning_rate": 0.01, "weight_decay": 0.0}
NETWORKS = {
    "padded": {"name": "unet", "widths": [2, 4]},
    "published": {"name": "unet", "widths": [2, 4], "padding": "valid", "dropout": 0.5, "initialisation": "he"},
}
# What asks for a value, or for a number of elements that only the data tell: on a GPU, the program waits for it.
# `lift_fresh` makes a tensor of a number of the program: on a GPU a copy, which no recording allows.
WAITING = {
    "lift_fresh",
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "bincount",
    "equal",
    "is_nonzero",
}
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that CUDA sees")


def trainer(network="padded", optimizer="adam", weights=False, precision=torch.float32, device="cpu", record=None):
    """A training on 11 drawn images in batches of 4, the last one of 3; 5 of them to validate."""
    rng = torch.Generator().manual_seed(0)
    tensors = [torch.randint(0, 256, (11, 16, 16, 3), generator=rng, dtype=torch.uint8)]
    tensors.append(torch.randint(0, 3, (11, 16, 16), generator=rng, dtype=torch.uint8))
    if weights:
        tensors.append(torch.rand(11, 16, 16, generator=rng))
    where = torch.device(device)
    model = build_model(3, 3, NETWORKS[network], seed=1).to(where)
    return Trainer(
        network=model,
        optimizer=Optimizer(model.parameters(), SETTINGS | {"optimizer": optimizer}),
        train=Images(InMemory(tuple(tensor.to(where) for tensor in tensors)), where),
        validation=Images(InMemory(tuple(tensor[:5].to(where) for tensor in tensors[:2])), where),
        augment=None,
        precision=precision,
        batch_size=4,
        block=3,
        classes=3,
        seed=1,
        record=record,
    )


def run(each):
    """Train for four epochs, the last two at a lower rate; return the losses and the weights."""
    losses = []
    for epoch in range(1, 5):
        losses.append(each.run_epoch(epoch, [0.01 if epoch < 3 else 0.001] * 3))
    return losses, each.network.state_dict()


def same(first, second):
    return first[0] == second[0] and all(torch.equal(first[1][name], second[1][name]) for name in first[1])


@pytest.mark.parametrize("changes", [{}, {"optimizer": "sgd"}, {"weights": True}, {"network": "published"}], ids=str)
def test_a_replayed_training_is_the_plain_one_bit_by_bit(changes):
    recorded = []

    def record(step, batch):
        recorded.append(len(batch[0]))
        return record_call(step, batch)

    assert same(run(trainer(**changes, record=record)), run(trainer(**changes)))
    assert recorded == [4, 3]


def test_steps_are_recorded_once_per_shape_after_the_warm_up():
    recorded = []

    def record(step, batch):
        recorded.append(len(batch[0]))
        return record_call(step, batch)

    step = ReplayedStep(lambda images: images.sum(), record)
    for _ in range(WARM_UP):
        step(torch.ones(2))
    assert recorded == []
    losses = [step(torch.full((2,), value)) for value in (1.0, 2.0, 3.0)]
    assert recorded == [2]
    assert [float(loss) for loss in losses] == [2, 4, 6]  # each loss is its own, though all are computed in one place


def test_a_batch_is_not_changed_by_its_recording():
    step = ReplayedStep(lambda images: images.sum(), record_call)
    batches = [torch.full((2,), float(value)) for value in range(6)]
    for batch in batches:
        step(batch)
    assert [batch.tolist() for batch in batches] == [[value, value] for value in range(6)]


class Operations(TorchDispatchMode):
    """Names of the operations that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("changes", [{}, {"optimizer": "sgd"}, {"weights": True}, {"network": "published"}], ids=str)
def test_no_step_asks_the_device_for_a_value_and_an_epoch_does_so_only_at_its_ends(changes):
    each = trainer(**changes)
    batch = next(each.train.batches(torch.arange(11), 4))
    with Operations() as seen:
        each.take_step(*batch)
    assert "convolution" in seen.names
    assert not WAITING & set(seen.names)
    with Operations() as seen:
        each.run_epoch(1, [0.01] * 3)
    asked = [name for name in seen.names if name in WAITING]
    with Operations() as longer:
        each.validation = Images(
            InMemory(tuple(torch.cat([t] * 4) for t in each.validation.store.tensors)), torch.device("cpu")
        )
        each.run_epoch(2, [0.01] * 3)
    assert [name for name in longer.names if name in WAITING] == asked  # no more of them for four times the batches


@needs_cuda
@pytest.mark.parametrize("changes", [{}, {"optimizer": "sgd"}, {"weights": True}, {"network": "published"}], ids=str)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
def test_cuda_graphs_take_the_same_steps(changes, precision):
    settings = changes | {"device": "cuda", "precision": precision}
    expected, weights = run(trainer(**settings))
    losses, replayed = run(trainer(**settings, record=GraphRecorder()))
    for one, other in zip(losses, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-3)
    assert all(torch.allclose(replayed[name], weights[name], rtol=1e-3, atol=1e-4) for name in weights)


@needs_cuda
@pytest.mark.parametrize("network", NETWORKS)
def test_replayed_steps_never_wait_for_the_gpu(network):
    each = trainer(network, device="cuda")
    step = ReplayedStep(each.take_step, GraphRecorder())
    batches = list(each.train.batches(torch.arange(11), 4))
    for _ in range(WARM_UP + 1):
        step(*batches[0])
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(*batches[0])
    finally:
        torch.cuda.set_sync_debug_mode("default")
