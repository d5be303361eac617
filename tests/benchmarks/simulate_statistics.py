"""Print how often a whole verdict claims what is not there, covers the truth, and sees what is there.

PYTHONPATH=scripts:tests python tests/benchmarks/simulate_statistics.py, about 15 minutes on one core (make simulate).
"""

import argparse
from collections.abc import Sequence

import numpy as np

from simulation import SHIPPED, Design, binomial_interval, simulate, simulate_primary

SEEDS = (3, 5, 10)
CONDITIONS = {
    "seeds and images": {},
    "images outweigh seeds": {"seed_sd": 0.3, "image_sd": 1.0},
    "seed x image": {"seed_sd": 0.3, "interplay_sd": 1.0},
    "heavy tails (t, 3)": {"tails": 3},
    "1 of 10 trainings collapses": {"collapse": 0.1},
}
IMAGES = 179  # the largest design has 3,669, which changes nothing that is measured here but the time it takes
EFFECTS = (0.5, 1.0, 2.0, 5.0)


def share(hits: np.ndarray) -> str:
    """Return a share in per cent with its 95 % interval."""
    low, high = binomial_interval(int(hits.sum()), hits.size)
    return f"{100 * hits.mean():.1f} ({100 * low:.1f} to {100 * high:.1f})"


def print_row(cells: Sequence[object]) -> None:
    """Print a row of a Markdown table."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def shipped(name: str) -> dict[str, int]:
    """Return the numbers of a shipped design, with at most `IMAGES` test images."""
    design = SHIPPED[name]
    return design | {name: min(design.get(name, IMAGES), IMAGES) for name in ("images", "validation")}


def print_false_claims(experiments: int) -> None:
    """No effect: whole reports that claim one, by family; intervals that hold the truth."""
    print(f"\nWhere nothing is: {experiments} experiments a row, per cent (95 % interval)\n")
    print_row(
        ["design", "seeds", "what varies", "primary claims", "secondary claims", "a control claims", "H1 covered"]
    )
    print_row(["---"] * 7)
    for name in ("demo", "ablation"):
        for seeds in SEEDS:
            for condition, spreads in CONDITIONS.items():
                outcome = simulate(Design(seeds, **shipped(name), **spreads), experiments, seed=1)
                claims = [share(outcome.claiming(family)) for family in ("primary", "secondary", "control")]
                print_row([name, seeds, condition, *claims, share(outcome.covered("H1"))])


def print_dependence(experiments: int) -> None:
    """The same effect at every threshold: reports that say it depends on the threshold."""
    print(f"\nAn effect of 1, 2 or 3 points at every threshold: reports that say it depends, {experiments} a cell\n")
    print_row(["design", "seeds", "1 point", "2 points", "3 points"])
    print_row(["---"] * 5)
    for name in ("demo", "ablation"):
        for seeds in SEEDS:
            outcomes = [
                simulate(Design(seeds, **shipped(name), effects={"H1": effect}), experiments, seed=3)
                for effect in (1.0, 2.0, 3.0)
            ]
            print_row([name, seeds, *(share(outcome.words[:, 0] == "depends") for outcome in outcomes)])


def print_power(experiments: int) -> None:
    """An effect at every threshold: how often one given threshold is called supported, or none equivalent."""
    print(f"\nPower: H1 supported at one given threshold, {experiments} experiments a cell, per cent\n")
    print_row(
        ["design", "sd between seeds", "seeds", *(f"{effect:g} points" for effect in EFFECTS), "none: equivalent"]
    )
    print_row(["---"] * (4 + len(EFFECTS)))
    for name in ("demo", "ablation"):
        for seed_sd in (0.5, 1.0, 2.0):
            for seeds in (*SEEDS, 20):
                said = [
                    simulate_primary(
                        Design(seeds, **shipped(name), seed_sd=seed_sd, effects={"H1": effect}), experiments, seed=2
                    )
                    for effect in (*EFFECTS, 0.0)
                ]
                shares = [(some[:, 0] == "supported").mean() for some in said[:-1]]
                shares.append((said[-1][:, 0] == "equivalent").mean())
                print_row([name, f"{seed_sd:g}", seeds, *(f"{100 * share:.0f}" for share in shares)])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=4000, help="per row of the first table; less in the others")
    arguments = parser.parse_args()
    print_false_claims(arguments.experiments)
    print_dependence(arguments.experiments // 2)
    print_power(arguments.experiments)


if __name__ == "__main__":
    main()
