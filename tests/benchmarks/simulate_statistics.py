"""Print how often the verdict claims what is not there, covers the truth and sees what is there.

PYTHONPATH=scripts:tests python tests/benchmarks/simulate_statistics.py, about two minutes on one core.
"""

import argparse

from simulation import Design, Outcome, binomial_interval, simulate

SPREADS = [(1.0, 0.0), (1.0, 0.3), (0.5, 0.5), (0.3, 1.0)]


def share(hits: int, n: int) -> str:
    """Return a share in per cent with its 95 % interval."""
    low, high = binomial_interval(hits, n)
    return f"{100 * hits / n:5.1f} ({100 * low:.1f} to {100 * high:.1f})"


def print_false_claims(experiments: int) -> None:
    """No effect, 5 thresholds: experiments that claim one; and intervals that hold the truth."""
    print(f"No effect, 200 images, 5 thresholds, {experiments} experiments a row; per cent (95 % interval)")
    print(f"{'seeds':>5} {'seed sd':>8} {'image sd':>9} {'claim anything':>22} {'interval covers':>22}")
    for seeds in (3, 5, 10):
        for seed_spread, image_spread in SPREADS:
            outcome = simulate(Design(seeds, seed_spread=seed_spread, image_spread=image_spread), experiments, seed=1)
            first = outcome.covered[:, 0]  # thresholds of one experiment are not independent
            claims, covers = share(outcome.claims.sum(), experiments), share(first.sum(), experiments)
            print(f"{seeds:>5} {seed_spread:>8} {image_spread:>9} {claims:>22} {covers:>22}")


def print_power(experiments: int, thresholds: int) -> None:
    """An effect at every threshold: how often one given threshold is called supported."""
    print(
        f"\nPower at one of {thresholds} thresholds, image sd 0.3, {experiments} experiments a cell; per cent supported"
    )
    effects, counts = (0.5, 1.0, 2.0, 5.0), (3, 5, 6, 10, 20)
    print(f"{'seed sd':>8} {'seeds':>6}" + "".join(f"{f'{effect} points':>13}" for effect in effects))
    for seed_spread in (0.5, 1.0, 2.0):
        for seeds in counts:
            cells = []
            for effect in effects:
                design = Design(seeds, thresholds=thresholds, effect=effect, seed_spread=seed_spread, image_spread=0.3)
                outcome: Outcome = simulate(design, experiments, seed=2)
                cells.append(100 * (outcome.decisions[:, 0] == "supported").mean())
            print(f"{seed_spread:>8} {seeds:>6}" + "".join(f"{cell:>13.0f}" for cell in cells))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--experiments", type=int, default=4000, help="per row of the first table; a quarter in the others"
    )
    arguments = parser.parse_args()
    print_false_claims(arguments.experiments)
    for thresholds in (1, 5):
        print_power(arguments.experiments // 4, thresholds)


if __name__ == "__main__":
    main()
