import pytest
import torch

from spatial_reduction.training.optimizer import Optimizer, Plateau

OPTIMISERS = {
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9}),
}


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 3))


def take_steps(model, optimizer, steps):
    for step in steps:
        images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(images).pow(2).mean().backward()
        optimizer.step()


def settings(kind):
    return {"optimizer": kind, "momentum": 0.9, "learning_rate": 0.01, "weight_decay": 0.02}


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_every_optimiser_steps_bit_for_bit_as_pytorch_does(kind):
    reference, options = OPTIMISERS[kind]
    ours, theirs = network(), network()
    take_steps(ours, Optimizer(ours.parameters(), settings(kind)), range(5))
    take_steps(theirs, reference(theirs.parameters(), lr=0.01, weight_decay=0.02, fused=True, **options), range(5))
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_a_parameter_that_is_fixed_or_unused_stays_as_it_is(kind):
    model = network()
    model[0].requires_grad_(False)
    model.unused = torch.nn.Parameter(torch.ones(2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images, optimizer = torch.rand(2, 3, 8, 8), Optimizer(model.parameters(), settings(kind))
    optimizer.learning_rate = 0.1
    model[2](model[0](images)).pow(2).mean().backward()
    optimizer.step()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"2.weight", "2.bias"}


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_a_restored_optimiser_goes_on_bit_for_bit(kind):
    whole, halved = network(), network()
    take_steps(whole, Optimizer(whole.parameters(), settings(kind)), range(6))
    first = Optimizer(halved.parameters(), settings(kind))
    take_steps(halved, first, range(3))
    second = Optimizer(halved.parameters(), settings(kind))
    second.load_state({name: tensor.clone() for name, tensor in first.state.items()})
    take_steps(halved, second, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), halved.parameters(), strict=True))


LOSSES = {
    "a loss falls and rises": (0.1, [1.0, 0.9, 0.9, 0.91, 0.89999, 0.95, 0.5, 0.6, 0.6, 0.6, 0.6, 0.4]),
    "a fall of more than 0.01 % counts": (0.1, [1.0, 0.99989, 0.99978, 0.99967, 0.99956]),
    "a fall of less than 0.01 % does not": (0.1, [1.0, 0.99991, 0.99991, 0.99991, 0.99991]),
    "a rate changes by more than 1e-8 or stays": (5e-8, [1.0] * 12),
}


@pytest.mark.parametrize("patience", [0, 2])
@pytest.mark.parametrize("case", LOSSES)
def test_the_plateau_lowers_the_rate_when_pytorch_does(case, patience):
    rate, losses = LOSSES[case]
    reference = torch.optim.SGD(network().parameters(), lr=rate)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(reference, factor=0.5, patience=patience)
    ours = Plateau(factor=0.5, patience=patience)
    for loss in losses:
        rate = ours.next_rate(loss, rate)
        theirs.step(loss)
        assert rate == reference.param_groups[0]["lr"]


def test_the_plateau_by_hand():
    plateau = Plateau(factor=0.5, patience=1)
    rates = [plateau.next_rate(loss, 0.1) for loss in (1.0, 0.99991, 0.99989, 0.9999, 0.9999)]
    assert rates == [0.1, 0.1, 0.1, 0.1, 0.05]
    assert plateau.best == 0.99989
    assert Plateau(0.5, 0, best=0.0).next_rate(1.0, 1.9e-8) == 1.9e-8
    assert Plateau(0.5, 0, best=0.0).next_rate(1.0, 2e-8) == 2e-8  # by just 1e-8
    assert Plateau(0.5, 0, best=0.0).next_rate(1.0, 2.1e-8) == pytest.approx(1.05e-8)
    assert Plateau(0.5, 0, best=1.0).next_rate(1 - 1e-4, 0.1) == 0.05  # just 0.01 % lower
