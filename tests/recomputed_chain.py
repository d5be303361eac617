"""A whole experiment recomputed by the second implementation: from dataset.h5 and the weights to every number.

Three seeds, three iterations, pictures that differ, pixels without label, a rare class; one arm has a network of its
own, with dropout and augmentation. What is checked is the same whether the workflow made the files or its functions.
"""

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from snakemake.utils import update_config

import second_implementation as second
import second_statistics as again
from experiments import ROOT

CLASSES, INTEREST, FRONT = ["ground", "disc", "rim"], [1, 2], ["disc", "rim"]
GROUPS = {"without_rim": ["ground", "disc"]}
SEEDS, THRESHOLD, ITERATIONS, PIXELS = (1, 2, 3), "70", 3, 256
EPOCHS = 20  # enough to predict all three classes
FAMILIES = ["noise", "blur", "brightness", "contrast", "jpeg", "occlusion"]
EXPERIMENT = {
    "seeds": list(SEEDS),
    "dataset": {
        "source": "folder",
        "image_size": 16,
        "classes": [{"name": "ground", "labels": [0]}, {"name": "disc", "labels": [1]}, {"name": "rim", "labels": [2]}],
        "ignored_labels": [9],
        "split": {"method": "random", "validation_share": 25, "test_share": 40},
    },
    "model": {"widths": [4, 8], "initialisation": "default"},
    "training": {"epochs": EPOCHS, "batch_size": 4, "learning_rate": 0.01, "schedule": {"monitor": "validation"}},
    "reduction": {"thresholds": [70], "iterations": 3, "classes_of_interest": ["disc", "rim"]},
    "arms": {
        "equal_compute": None,
        "random": None,
        "oracle": None,
        "own": {"model": {"widths": [6, 8], "dropout": 0.3}, "training": {"augmentation": ["flip"]}},
    },
    "evaluation": {
        "protocols": ["intact", "self_masked", "label_masked", *FAMILIES, "background_swapped", "background_blurred"],
        "class_groups": {"pet_and_background": None, **GROUPS},
        "foreground": FRONT,
        "comparators": ["restarts", "single_pass"],
        "resamples": 100,
    },
    "report": {"images": 2},
}
REDUCING = {"saliency": {"widths": [4, 8]}, "own": {"widths": [6, 8], "dropout": 0.3}}


def draw_pictures(folder, count=40):
    """Draw discs with a rim on noise; every third picture has no rim, every second a corner without label."""
    rng = np.random.default_rng(7)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows, columns = np.mgrid[:16, :16]
    for index in range(count):
        centre, radius = rng.uniform(4, 12, 2), rng.uniform(2.5, 5)
        distance = np.hypot(rows - centre[0], columns - centre[1])
        labels = (distance < radius).astype(np.uint8)
        if index % 3:
            labels[(distance >= radius - 1) & (distance < radius)] = 2
        picture = rng.integers(0, 120, (16, 16, 3)) + (labels > 0)[..., None] * rng.integers(40, 130, 3)
        if index % 2:
            labels[:3, : 2 + index % 5] = 9
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"images/{index:02}.png")
        Image.fromarray(labels).save(folder / f"masks/{index:02}.png")


class Run:
    """The files of the finished experiment."""

    epochs = EPOCHS

    def __init__(self, folder):
        self.results = folder / "results/demo"
        with h5py.File(self.results / "dataset.h5") as file:
            splits = {name: file[f"split/{name}"][:] for name in ("train", "validation", "test")}
            self.data = {name: (file["images"][:][at], file["labels"][:][at]) for name, at in splits.items()}

    def folder(self, arm, seed, iteration):
        if iteration == 1:
            return self.results / f"{'own' if arm == 'own' else 'single_pass'}/top_100/seed_{seed}/iteration_1"
        return self.results / f"{arm}/top_{THRESHOLD}/seed_{seed}/iteration_{iteration}"

    def network(self, arm, seed, iteration):
        network = second.PlainUNet(3, 3, **REDUCING.get(arm, REDUCING["saliency"]))
        network.load_state_dict(load_file(self.folder(arm, seed, iteration) / "model.safetensors"))
        return network

    def mask(self, arm, seed, iteration):
        if iteration == 1:
            return np.ones((len(self.data["train"][0]), 16, 16), bool)
        with h5py.File(self.folder(arm, seed, iteration) / "mask.h5") as file:
            bits = np.unpackbits(file["kept"][:], axis=1, count=PIXELS)
        return bits.reshape(-1, 16, 16).astype(bool)

    def experiment(self):
        """All chains as the statistics take them, with the configuration that the workflow was given."""
        config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
        update_config(config, EXPERIMENT)
        groups = {name: members for name, members in config["evaluation"]["class_groups"].items() if members}
        history, kept, chains = self.table("history.csv"), self.table("kept_pixels.csv"), {}
        kept = kept[kept["measure"] == "kept_share"]
        for arm, threshold, seed in self.table("metrics.csv")[["arm", "threshold", "seed"]].drop_duplicates().values:
            here = {"arm": arm, "threshold": threshold, "seed": seed}
            curve, share = (table[(table[list(here)] == pd.Series(here)).all(axis=1)] for table in (history, kept))
            with h5py.File(self.results / f"{arm}/top_{threshold}/seed_{seed}/counts.h5") as file:
                names = [name for name in file if "test" in file[name]]
                confusion = {name: file[f"{name}/test/confusion"][-1] for name in names}
                details = [file[f"intact/test/{name}"][-1] for name in ("boundary", "reliability", "nll")]
            validation = {}
            for iteration in curve["iteration"].unique():
                later = self.results / f"{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}"
                folder = later if iteration > 1 else self.folder(arm, seed, 1)
                with h5py.File(folder / "validation_counts.h5") as file:
                    validation[iteration] = file["confusion"][:]
            columns = [
                "iteration",
                "cumulative_steps",
                "cumulative_images",
                "cumulative_seconds",
                "validation_mean_iou",
            ]
            names = ("iteration", "steps", "images", "seconds", "score")
            epochs = [dict(zip(names, row, strict=True)) for row in curve[columns].itertuples(index=False)]
            shares = dict(zip(share["iteration"], share["value"], strict=True))
            chain = again.Chain(confusion, epochs, validation, shares)
            chain.boundary, chain.reliability, chain.likelihood = details
            chains[arm, threshold, seed] = chain
        evaluation = config["evaluation"] | {"class_groups": groups}
        return again.Experiment(chains, CLASSES, evaluation, config["report"], self.reference())

    def reference(self):
        """The best mean IoU on the test images of one class everywhere and of each pixel's commonest class."""
        seen, labels = self.data["train"][1], self.data["test"][1]
        counts = np.stack([(seen == index).sum(axis=0) for index in range(len(CLASSES))])
        guesses = [np.full((16, 16), index) for index in range(len(CLASSES))] + [counts.argmax(axis=0)]
        guesses[-1][counts.sum(axis=0) == 0] = counts.sum(axis=(1, 2)).argmax()
        tables = [np.broadcast_to(guess, labels.shape) for guess in guesses]
        return max(second.score_table(labels, each, CLASSES, {}, FRONT)["mean_iou", "all"] for each in tables)

    def table(self, name):
        return pd.read_csv(self.results / name, dtype={"threshold": str})


def check_masks(run, arm, seed):
    """Every mask keeps the most salient of the pixels kept so far, and its table says so."""
    images, labels = run.data["train"]
    kept = run.mask(arm, seed, 1)
    table = run.table("kept_pixels.csv")
    table = table[(table["arm"] == arm) & (table["seed"] == seed)].set_index(["iteration", "measure", "class"])["value"]
    for iteration in range(2, ITERATIONS + 1):
        scores = second.log_odds(
            second.logits_of(run.network(arm, seed, iteration - 1), second.blacken(images, kept)), INTEREST
        )
        count = second.kept_number(PIXELS, THRESHOLD, iteration - 1)
        expected, found = second.shrink(scores, kept, count), run.mask(arm, seed, iteration)
        assert (found.sum(axis=(1, 2)) == count).all()
        # Scores that differ by rounding alone may change places at the cut.
        border = np.array([np.sort(each[before])[-count] for each, before in zip(scores, kept, strict=True)])
        assert np.abs(scores - border[:, None, None])[expected != found].max(initial=0) < 1e-4
        assert (expected != found).mean() < 0.002
        for place, value in second.mask_table(found, kept, labels, CLASSES).items():
            assert table[(iteration, *place)] == pytest.approx(value, rel=1e-9), (iteration, place)
        kept = found


def shown(run, arm, seed, threshold):
    """Yield (protocol, images, labels) of all that the last model of a chain is shown."""
    images, labels = run.data["test"]
    front = [CLASSES.index(name) for name in FRONT]
    yield "intact", images, labels
    count = PIXELS if threshold == "100" else second.kept_number(PIXELS, threshold, ITERATIONS - 1)
    whole = np.ones(labels.shape, bool)
    if arm in REDUCING:
        scores = second.log_odds(second.logits_of(run.network(arm, seed, ITERATIONS - 1), images), INTEREST)
        yield "self_masked", second.blacken(images, second.shrink(scores, whole, count)), labels
    truth = np.stack([second.signed_distance(np.isin(each, INTEREST)) for each in labels])
    yield "label_masked", second.blacken(images, second.shrink(truth, whole, count)), labels
    for protocol, changed in second.corrupted(images):
        yield protocol, changed, labels
    yield "background_swapped", *second.on_other_backgrounds(images, labels, front, len(CLASSES))
    yield "background_blurred", second.on_blurred_backgrounds(images, labels, front), labels


def check_measures(run, arm, threshold, seed):
    """Every row of the measures of a chain, by all protocols."""
    last = 1 if threshold == "100" else ITERATIONS
    table = run.table("metrics.csv")
    table = table[(table["arm"] == arm) & (table["seed"] == seed)]
    expected = {}
    for iteration in range(1, last + 1):
        network = run.network(arm, seed, iteration)
        for split in ("validation", "test"):
            images, labels = run.data[split]
            predictions = second.logits_of(network, images).argmax(axis=1)
            rows = second.score_table(labels, predictions, CLASSES, GROUPS, FRONT)
            expected |= {(iteration, split, "intact", *place): value for place, value in rows.items()}
    images, labels = run.data["test"]
    logits = second.logits_of(network, images)
    detailed = second.boundary_table(labels, logits.argmax(axis=1), CLASSES, GROUPS)
    detailed |= second.calibration_table(labels, logits)
    expected |= {(last, "test", "intact", *place): value for place, value in detailed.items()}
    for protocol, pictures, truths in shown(run, arm, seed, threshold):
        predictions = second.logits_of(network, pictures).argmax(axis=1)
        rows = second.score_table(truths, predictions, CLASSES, GROUPS, FRONT)
        expected |= {(last, "test", protocol, *place): value for place, value in rows.items()}
    keys = ["iteration", "split", "protocol", "measure", "class"]
    found = table.set_index(keys)["value"].to_dict()
    assert set(found) - set(expected) == set()
    assert set(expected) - set(found) == set()
    wrong = {
        key: (found[key], value)
        for key, value in expected.items()
        if found[key] != pytest.approx(value, abs=2e-6, nan_ok=True)
    }
    # A pixel whose two best logits are equal to rounding may change its class: a few images' shares of one pixel.
    assert all(abs(a - b) < 0.02 for a, b in wrong.values()), wrong
    assert len(wrong) < 0.02 * len(expected), wrong


def check_training(run, arm, seed, iteration):
    """A training step by step: weights and history; on one thread as its job, as the order of sums would tell."""
    torch.set_num_threads(1)
    images, labels = run.data["train"]
    torch.manual_seed(seed)
    network = second.PlainUNet(3, 3, **REDUCING[arm]) if iteration == 1 else run.network(arm, seed, iteration - 1)
    settings = {"epochs": run.epochs, "batch_size": 4, "learning_rate": 0.01, "classes": 3, "flip": arm == "own"}
    seen = second.blacken(images, run.mask(arm, seed, iteration))
    rows = second.train(
        network, seen, labels, run.data["validation"], settings, seed, epochs_before=run.epochs * (iteration - 1)
    )
    weights = load_file(run.folder(arm, seed, iteration) / "model.safetensors")
    for name, value in network.state_dict().items():
        assert torch.allclose(weights[name], value, atol=1e-5), name
    table = run.table("history.csv")
    table = table[(table["arm"] == arm) & (table["seed"] == seed) & (table["iteration"] == iteration)]
    columns = ["train_loss", "validation_loss", "validation_mean_iou"]
    assert table[columns].to_numpy() == pytest.approx(np.array(rows), abs=1e-5)


def same(found, expected):
    """Whether two cells agree: words and truths exactly, numbers to what float32 counts leave."""
    if isinstance(expected, str | bool | np.bool_):
        return found == expected
    return found == pytest.approx(expected, rel=2e-3, abs=2e-4, nan_ok=True)


def check_table(table, keys, expected, columns):
    """A table holds the expected rows, no other, and every cell agrees."""
    found = {tuple(row[key] for key in keys): row for row in table.to_dict("records")}
    assert set(found) == set(expected)
    wrong = {
        (*place, column): (found[place][column], row.get(column, np.nan))
        for place, row in expected.items()
        for column in columns
        if not same(found[place][column], row.get(column, np.nan))
    }
    assert not wrong


CONTRAST = ["arm", "threshold", "comparator", "comparator_threshold", "protocol", "measure", "class"]


def check_statistics(run):
    """Every contrast, interaction, row of convergence and word of the verdict, from counts and histories."""
    experiment = run.experiment()
    scored, curves = again.Scored(experiment), again.Curves(experiment)
    rows = again.contrasts(experiment, scored, curves)
    found = run.table("contrasts.csv").astype({"comparator_threshold": str}).fillna({"decision": ""})
    check_table(found, CONTRAST, rows, [name for name in found.columns if name not in CONTRAST])
    columns = ["target", "steps", "images", "seconds", "comparator_steps", "area", "final"]
    speed = again.convergence(experiment, curves)
    check_table(run.table("convergence.csv"), ["arm", "threshold", "seed", "level"], speed, columns)
    assert again.interactions(experiment, scored, curves) == {}  # of one threshold
    assert run.table("interactions.csv").empty
    verdict = (run.results / "verdict.md").read_text()
    primary = experiment.evaluation["comparators"][0]
    for hypothesis, place in zip(("H1", "H1b", "H2", "H3"), (experiment.primary_place, *again.SECONDARY), strict=True):
        measure, protocol, group = place
        row = rows["saliency", THRESHOLD, primary, "100", protocol, measure, group]
        line = next(line for line in verdict.splitlines() if line.startswith(f"| {hypothesis} |"))
        assert line.endswith(f"**{row['decision'].replace('_', ' ')}** |"), (line, row)
    general, _ = again.caveats(experiment, scored, curves, rows)
    told = [line for line in verdict.splitlines() if line.startswith("- **Read first.** ")]
    for name, parts in general.items():
        assert any(name in line and all(part in line for part in parts) for line in told), (name, parts)
