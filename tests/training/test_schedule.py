import pytest
import torch

from spatial_reduction.training.schedule import cosine_rate, one_cycle_rate, rates_of_epoch


def rates_of(reference, steps):
    """The rates that a PyTorch schedule of a rate of 1 gives to each step."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    schedule, rates = reference(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(("steps", "warm_up"), [(10, 0.3), (460, 0.3), (7, 0.5), (20, 0.1)])
def test_one_cycle_is_pytorchs(steps, warm_up):
    def reference(optimizer):
        options = {"pct_start": warm_up, "cycle_momentum": False}
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=steps + 1, **options)

    expected = rates_of(reference, steps)
    # PyTorch refuses the step after the last, so its cycle is one step longer here.
    found = [one_cycle_rate(step, steps + 1, warm_up) for step in range(steps)]
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_cosine_without_warm_up_is_pytorchs():
    expected = rates_of(lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12), 12)
    assert [cosine_rate(step, 12, 0) for step in range(12)] == pytest.approx(expected, rel=1e-9)


def test_a_warm_up_rises_by_equal_steps_to_the_highest_rate():
    rates = [cosine_rate(step, 10, 0.4) for step in range(10)]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert rates[5:] == pytest.approx([cosine_rate(step, 6, 0) for step in range(1, 6)])


@pytest.mark.parametrize("kind", ["cosine", "one_cycle"])
@pytest.mark.parametrize("warm_up", [0, 1, 30, 90])
def test_epochs_follow_each_other_and_reach_the_rate_once(kind, warm_up):
    schedule = {"kind": kind, "warm_up": warm_up}
    rates = [rate for epoch in range(1, 6) for rate in rates_of_epoch(schedule, 0.01, epoch, 5, 4)]
    assert rates == rates_of_epoch(schedule, 0.01, 1, 1, 20)
    assert max(rates) == pytest.approx(0.01, rel=0.02)
    assert all(0 < rate <= 0.01 for rate in rates)
    top = rates.index(max(rates))
    assert rates == sorted(rates[:top]) + sorted(rates[top:], reverse=True)


def test_an_epoch_is_a_part_of_the_whole_schedule():
    rates = rates_of_epoch({"kind": "one_cycle", "warm_up": 30}, 0.01, 2, 5, 4)
    assert rates == pytest.approx([0.01 * one_cycle_rate(step, 20, 0.3) for step in (4, 5, 6, 7)], rel=1e-12)


def test_a_single_step_has_a_rate():
    for kind in ("cosine", "one_cycle"):
        for warm_up in (0, 50):
            (rate,) = rates_of_epoch({"kind": kind, "warm_up": warm_up}, 0.01, 1, 1, 1)
            assert 0 < rate <= 0.01


def test_a_rise_of_one_step_is_at_the_highest_rate():
    assert one_cycle_rate(0, 2, 0.5) == 1
    assert cosine_rate(0, 2, 0.5) == 1
