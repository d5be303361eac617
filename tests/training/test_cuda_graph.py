import gc
import warnings
import weakref
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from spatial_reduction.networks.model_file import build_model
from spatial_reduction.runtime.determinism import set_determinism
from spatial_reduction.training.augmentation import build_augmentation
from spatial_reduction.training.batches import Images
from spatial_reduction.training.cuda_graph import (
    WARM_UP,
    CallRecorder,
    GraphRecorder,
    ReplayedSteps,
    without_collection,
)
from spatial_reduction.training.epoch import Trainer, has_batch_statistics
from spatial_reduction.training.image_store import InMemory
from spatial_reduction.training.optimizer import Optimizer

ALL_AUGMENTATION = ["flip", "colour", "elastic", "shift", "rotate", "grid_elastic", "grey"]
SETTINGS = {"optimizer": "adam", "momentum": 0.9, "learning_rate": 0.01, "weight_decay": 0.0}
CHANGES = [{}, {"optimizer": "sgd"}, {"weights": True}, {"network": "published"}]
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


def trainer(network="padded", optimizer="adam", weights=False, precision="float32", device="cpu", **changes):
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
        precision=precision,
        batch_size=4,
        block=3,
        classes=3,
        seed=1,
        **({"augment": None} | changes),
    )


def run(each):
    """Train for four epochs, the last two at a lower rate; return the losses and the weights."""
    losses = []
    for epoch in range(1, 5):
        losses.append(each.run_epoch(epoch, [0.01 if epoch < 3 else 0.001] * 3))
    return losses, each.network.state_dict()


def same(first, second):
    return first[0] == second[0] and all(torch.equal(first[1][name], second[1][name]) for name in first[1])


class Counting(CallRecorder):
    """Counts what is launched and recorded; fails to record batches of the sizes of `fails`."""

    def __init__(self, fails=()):
        self.fails, self.launched, self.recorded = fails, 0, []

    def launch(self, step, batch):
        self.launched += 1
        return super().launch(step, batch)

    def record(self, step, batch):
        self.recorded.append(len(batch[0]))
        if len(batch[0]) in self.fails:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")
        return super().record(step, batch)


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_a_replayed_training_is_the_plain_one_bit_by_bit(changes):
    recorder = Counting()
    assert same(run(trainer(**changes, replay=ReplayedSteps(recorder))), run(trainer(**changes)))
    assert recorder.recorded == [4, 3]
    assert recorder.launched == 2 * WARM_UP


@pytest.mark.parametrize("fails", [[4], [3]], ids=["whole", "last"])  # the last batch of an epoch: in epoch 4
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_a_recording_that_fails_is_one_line_and_changes_no_number(changes, fails, capfd):
    recorder = Counting(fails)
    steps = ReplayedSteps(recorder)
    assert same(run(trainer(**changes, replay=steps)), run(trainer(**changes)))
    assert recorder.recorded == ([4] if fails == [4] else [4, 3])
    assert not steps.recordings  # their memory is free again
    lines = capfd.readouterr().err.splitlines()
    assert lines == [
        "a training step could not be recorded as a CUDA graph (operation not permitted): steps are launched one by one"
    ]


@pytest.mark.parametrize("words", [(), (" \n",)], ids=["none", "blank"])
def test_a_recording_that_fails_without_a_word_is_told_by_its_kind(words, monkeypatch, capfd):
    def fail(recorder, step, batch):
        raise RuntimeError(*words)

    monkeypatch.setattr(Counting, "record", fail)
    run(trainer(replay=ReplayedSteps(Counting())))
    assert "could not be recorded as a CUDA graph (RuntimeError): " in capfd.readouterr().err


def test_steps_are_recorded_once_per_shape_after_the_warm_up():
    recorder = Counting()
    steps = ReplayedSteps(recorder)
    for _ in range(3):
        steps.take(torch.sum, torch.ones(2))
    assert recorder.recorded == []
    losses = [steps.take(torch.sum, torch.full((2,), value)) for value in (1.0, 2.0, 3.0)]
    assert recorder.recorded == [2]
    assert recorder.launched == 3
    assert [float(loss) for loss in losses] == [2, 4, 6]  # each loss is its own, though all are computed in one place


def test_a_batch_is_not_changed_by_its_recording():
    steps = ReplayedSteps(CallRecorder())
    batches = [torch.full((2,), float(value)) for value in range(6)]
    for batch in batches:
        steps.take(torch.sum, batch)
    assert [batch.tolist() for batch in batches] == [[value, value] for value in range(6)]


def test_no_garbage_is_collected_within_a_recording_and_before_it_all_is():
    class Cycle:
        def __init__(self):
            self.itself = self

    cycle = Cycle()
    gone = weakref.ref(cycle)
    gc.disable()
    try:
        del cycle
        with without_collection():
            assert gone() is None
        assert not gc.isenabled()  # as before
        gc.enable()
        with without_collection():
            assert not gc.isenabled()
        assert gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize("replay", [None, ReplayedSteps(Counting(fails=[4]))], ids=["launched", "failed"])
def test_a_training_that_nobody_holds_is_freed_with_its_images(replay):
    each = trainer(replay=replay)
    run(each)
    images = weakref.ref(each.train.store)
    gc.collect()
    gc.disable()
    try:
        del each
        assert images() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("changes", [{}, {"weights": True}, {"with_dice": True}], ids=str)
def test_images_without_a_label_fill_the_last_batch_and_change_no_loss_and_no_gradient(changes):
    plain, filled = trainer(**changes), trainer(**changes, is_filled=True)
    *_, last = plain.train.batches(torch.arange(11), 4)
    whole = filled._filled(last)
    assert [len(tensor) for tensor in last] != [len(tensor) for tensor in whole] == [4] * len(last)
    for tensor, more in zip(last, whole, strict=True):
        assert torch.equal(more[:3], tensor)
    gradients = []
    for each, batch in ((plain, last), (filled, whole)):
        each.optimizer.step = lambda: None
        loss = each.take_step(*batch)
        gradients.append([loss, *(parameter.grad for parameter in each.network.parameters())])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_filled_training_has_one_shape_of_batch_and_so_one_recording():
    recorder = Counting()
    losses, _ = run(trainer(is_filled=True, replay=ReplayedSteps(recorder)))
    expected, _ = run(trainer())
    assert recorder.recorded == [4]
    for one, other in zip(losses, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-3)


def test_batch_normalisation_is_not_shown_images_that_fill():
    assert not has_batch_statistics(trainer().network)
    assert has_batch_statistics(torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3)))


class Operations(TorchDispatchMode):
    """Names of the operations that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


AUGMENTED = {"augment": build_augmentation(ALL_AUGMENTATION, 16)}


@pytest.mark.parametrize(
    "changes", [*CHANGES, AUGMENTED], ids=[*map(str, CHANGES), "augmented"]
)  # no address in a name
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


class PretendedStream:
    """Notes who waits for whom."""

    def __init__(self, name, told):
        self.name, self.told = name, told

    def wait_stream(self, other):
        self.told.append(f"{self.name} waits for {other.name}")


@pytest.fixture
def pretended(monkeypatch):
    """What a GPU would be told, in order."""
    told = []
    generator = SimpleNamespace(
        clone_state=lambda: "as before", graphsafe_set_state=lambda state: told.append(f"generator {state}")
    )

    @contextmanager
    def within(*names, **more):
        words = " ".join(getattr(each, "name", each) for each in [*names, *more.values()])
        told.append(f"begin {words}")
        yield
        told.append(f"end {words}")

    pretences = {
        "graph_pool_handle": lambda: "pool",
        "Stream": lambda device: PretendedStream(f"own stream of {device}", told),
        "current_stream": lambda device: PretendedStream(f"current stream of {device}", told),
        "stream": within,
        "graph": within,
        "CUDAGraph": lambda: SimpleNamespace(name="graph", replay=lambda: told.append("replay")),
        "current_device": lambda: 1,
        "default_generators": [None, generator],
    }
    for name, pretence in pretences.items():
        monkeypatch.setattr(torch.cuda, name, pretence)
    return told


def test_a_launched_step_runs_on_the_recorder_s_stream_between_what_waits_for_it(pretended):
    recorder = GraphRecorder(torch.device("cuda:1"))
    assert recorder.launch(lambda number: pretended.append("step") or number + 1, (2,)) == 3
    own, current = "own stream of cuda:1", "current stream of cuda:1"
    assert pretended == [
        f"{own} waits for {current}",
        f"begin {own}",
        "step",
        f"end {own}",
        f"{current} waits for {own}",
    ]


def test_a_step_is_recorded_on_that_stream_into_the_shared_memory(pretended):
    recorded = GraphRecorder(torch.device("cuda:1")).record(lambda number: number + 1, (2,))
    assert (recorded.batch, recorded.loss) == ((2,), 3)
    recorded.repeat()
    where = "graph pool own stream of cuda:1"
    assert pretended == [f"begin {where}", f"end {where}", "replay"]


def test_a_recording_that_fails_leaves_the_generator_as_it_was(pretended):
    def fail(number):
        raise RuntimeError("operation not permitted")

    with pytest.raises(RuntimeError, match="operation not permitted"):
        GraphRecorder(torch.device("cuda:1")).record(fail, (2,))
    assert pretended[1:] == ["generator as before"]


@needs_cuda
@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("is_filled", [True, False])
def test_cuda_graphs_take_the_same_steps_bit_by_bit(changes, precision, is_filled):
    settings = changes | {"device": "cuda", "precision": precision, "is_filled": is_filled}
    set_determinism(True)
    expected, weights = run(trainer(**settings))
    losses, replayed = run(trainer(**settings, replay=ReplayedSteps(GraphRecorder(torch.device("cuda")))))
    assert losses == expected
    assert all(torch.equal(replayed[name], weights[name]) for name in weights)


@needs_cuda
@pytest.mark.parametrize("network", NETWORKS)
def test_replayed_steps_never_wait_for_the_gpu(network):
    each = trainer(network, device="cuda")
    steps = ReplayedSteps(GraphRecorder(torch.device("cuda")))
    batches = list(each.train.batches(torch.arange(11), 4))
    for _ in range(WARM_UP + 1):
        steps.take(each.take_step, *batches[0])
    try:
        with warnings.catch_warnings(action="ignore"):  # that the mode is a prototype
            torch.cuda.set_sync_debug_mode("error")
        loss = steps.take(each.take_step, *batches[0])
        with pytest.raises(RuntimeError, match="synchronizing"):
            loss.item()
    finally:
        torch.cuda.set_sync_debug_mode("default")
