"""Experiments whose counts are drawn, so that every branch of what is decided is met, put through both implementations.

No network is trained: the files that trainings and evaluations leave are written as they would be.
"""

import math
from collections import Counter
from functools import cache

import numpy as np
import pandas as pd
import pytest

import second_implementation as second
import second_statistics as again
from recomputed_chain import CONTRAST, check_table
from spatial_reduction.analysis.caveats import Evidence
from spatial_reduction.analysis.contrasts import compare_arms
from spatial_reduction.analysis.convergence import measure_convergence
from spatial_reduction.analysis.tables import read_contrasts
from spatial_reduction.analysis.verdict import reach_verdict
from spatial_reduction.runtime.files import create_hdf5

CLASSES = ["ground", "disc", "rim"]
PROTOCOLS = ["noise_1", "blur_3", "background_swapped", "background_blurred"]
IMAGES, VALIDATION, EPOCHS, STEPS = 9, 7, 5, 10
MEASURES = ["mean_iou", "mean_dice", "binary_iou", "pixel_accuracy", "mean_boundary_iou", "ece", "nll", "rand_error"]
MEASURES += ["variation_of_information", "corruption_drop", "background_swapped_drop", "background_blurred_drop"]
EVALUATION = {
    "comparators": ["restarts", "single_pass", "mixed"],
    "controls": ["shuffled", "random"],
    "measures": MEASURES,
    "class_groups": {"without_rim": ["ground", "disc"]},
    "foreground": ["disc", "rim"],
    "margins": {"default": 1.0, "nll": 0.03, "corruption_drop": 2.0},
    "resamples": 24,
}
REPORT = {"method": "saliency", "measure": "mean_iou", "class_group": "all", "least_baseline_iou": 0.55}
SETTINGS = [("restarts", "100"), ("single_pass", "100"), ("saliency", "90"), ("saliency", "70"), ("mixed", "90")]
SETTINGS += [("shuffled", "90"), ("shuffled", "70"), ("random", "90"), ("random", "70")]

WORDS = ["supported", "refuted", "equivalent", "undecided", "not_learnt", "not_comparable", "undefined", ""]
FEW = ["mean_iou", "corruption_drop", "background_swapped_drop"]

# What sets designs apart; accuracies are shares of the pixels. `gain` and `robust` are what a setting has more than the
# others, intact and of what changed images take; `sd` is the deviation over seeds, `own` that of an image with one of
# them. `arms` are those beside the method and the primary comparator, all if they are not named.
DESIGNS = {
    "clear": {
        "gain": {("saliency", "90"): 0.08, ("saliency", "70"): -0.1},
        "sd": 0.01,
        "seeds": 4,
        "faster": 1.5,
        "measures": MEASURES,
    },
    "small": {
        "gain": {("saliency", "90"): 0.004, ("saliency", "70"): 0.004},
        "sd": 0.0005,
        "seeds": 5,
        "evaluation": {"margins": {"default": 4.0}},
        "arms": ["single_pass"],
    },
    "noisy": {
        "gain": {("saliency", "90"): 0.035, ("saliency", "70"): 0.02},
        "sd": 0.02,
        "seeds": 6,
        "own": 0.05,
        "arms": ["shuffled"],
    },
    "less_to_lose": {
        "gain": {("saliency", "90"): -0.12, ("saliency", "70"): -0.12},
        "robust": {("saliency", "90"): 0.06, ("saliency", "70"): -0.1},
        "sd": 0.004,
        "seeds": 4,
        "report": {"class_group": "without_rim", "measure": "mean_dice"},
        "measures": [*FEW, "mean_dice", "background_blurred_drop"],
        "arms": ["single_pass", "shuffled"],
    },
    "same": {"gain": {}, "sd": 0.02, "seeds": 3, "twin": True, "evaluation": {"comparators": ["restarts", "mixed"]}},
    "constant": {
        "gain": {("saliency", "90"): -0.9},
        "sd": 0.02,
        "seeds": 3,
        "report": {"least_baseline_iou": 0.9},
        "reference": 0.45,
        "rising": 0.05,
        "arms": ["shuffled"],
    },
    "nats": {
        "gain": {("saliency", "90"): 0.05},
        "sd": 0.01,
        "seeds": 4,
        "report": {"measure": "nll"},
        "level": 0.02,
        "measures": [*FEW, "nll"],
    },
    "flat": {"gain": {("saliency", "90"): 0.1}, "sd": 0.0, "seeds": 3, "own": 0.0, "spread": 0.0, "arms": ["mixed"]},
    "two_seeds": {
        "gain": {("saliency", "90"): 0.1},
        "sd": 0.01,
        "seeds": 2,
        "steps": {"saliency": 12},
        "arms": ["mixed"],
    },
}


def confusions(labels, accuracy):
    """Matrices of images of so many pixels of each class, (N, C), of which so many are found right, (N,)."""
    matrices = np.zeros((len(labels), 3, 3), dtype=np.int64)
    for image, (counts, share) in enumerate(zip(labels, accuracy, strict=True)):
        share = float(np.clip(share, 0, 1))
        for index, count in enumerate(counts):
            right = round(share * count) if index else count - round(0.3 * count * (1 - share))
            wrong = count - right
            matrices[image, index, index] = right
            matrices[image, index, (index + 1) % 3] += wrong // 3
            matrices[image, index, (index + 2) % 3] += wrong - wrong // 3
    return matrices


def draw_labels(rng, images):
    rim = rng.integers(0, 60, images) * (rng.random(images) < 0.6)
    rim[0] = 25
    return np.stack([rng.integers(300, 500, images), rng.integers(60, 200, images), rim], axis=1)


def draw_experiment(name):
    """Return the design as the second implementation takes it."""
    design = {
        "robust": {},
        "own": 0.01,
        "faster": 1.0,
        "reference": 0.3,
        "rising": 0.0,
        "steps": {},
        "spread": 1,
    } | DESIGNS[name]
    rng = np.random.default_rng([7, *name.encode()])
    labels, validation = draw_labels(rng, IMAGES), draw_labels(rng, VALIDATION)
    if not design["spread"]:
        labels = np.repeat(labels[:1], IMAGES, axis=0)
    arms = ["restarts", "saliency", *design.get("arms", ["single_pass", "mixed", "shuffled", "random"])]
    evaluation = EVALUATION | {"measures": design.get("measures", FEW)} | design.get("evaluation", {})
    evaluation |= {name: [arm for arm in evaluation[name] if arm in arms] for name in ("comparators", "controls")}
    report = REPORT | design.get("report", {})
    chains, first = {}, {}
    hardness = design["spread"] * rng.normal(0, 0.08, IMAGES)
    kinds = {each: design["spread"] * rng.normal(0, 0.03, IMAGES) for each in PROTOCOLS}
    for seed in map(str, range(design["seeds"])):
        for setting in [each for each in SETTINGS if each[0] in arms]:
            arm, threshold = setting
            gain = design["gain"].get(setting, 0.01 * (arm == "single_pass")) + rng.normal(0, design["sd"])
            level = 0.75 + gain + hardness + rng.normal(0, design["own"], IMAGES)
            confusion = {"intact": confusions(labels, level)}
            for number, protocol in enumerate(PROTOCOLS):
                less = 0.08 + 0.02 * number - design["robust"].get(setting, 0) + rng.normal(0, design["sd"])
                confusion[protocol] = confusions(labels, level - less + kinds[protocol])
            if threshold != "100":
                confusion["self_masked"] = confusions(labels, level - 0.02)
                confusion["label_masked"] = confusions(labels, level + 0.05)
            chain = again.Chain(confusion=confusion, epochs=[], validation={}, kept={})
            wrong = rng.uniform(5, 40, (IMAGES, 3))
            chain.boundary = np.stack([60 * (confusion["intact"].diagonal(0, 1, 2) > 0) + 0 * wrong, 60 + wrong], -1)
            chain.boundary = chain.boundary.astype(np.int64)
            pixels = rng.integers(1, 60, (IMAGES, 15))
            sure = pixels * (np.arange(15) + rng.random((IMAGES, 15))) / 15
            right = np.minimum(pixels, np.round(sure * rng.uniform(0.6, 1.2, (IMAGES, 15))))
            chain.reliability = np.stack([pixels, sure, right], -1)
            chain.likelihood = np.stack([labels.sum(1) * (0.9 - level), labels.sum(1)], -1).astype(float)
            chain.objects = {
                "rand_error": np.stack([np.clip(1 - level, 0, 1), np.ones(IMAGES)], -1),
                "variation_of_information": np.stack([1.5 - level, np.ones(IMAGES)], -1),
            }
            _train(chain, setting, seed, design, validation, first, rng)
            chains[arm, threshold, seed] = chain
    if design.get("twin"):  # one and the same network, and one that differs by as much with every seed
        for seed in map(str, range(design["seeds"])):
            chains["saliency", "90", seed] = chains["restarts", "100", seed]
            chains["mixed", "90", seed].confusion = chains["restarts", "100", "0"].confusion
            chains["saliency", "70", seed].confusion = chains["shuffled", "70", "1"].confusion
            for name in ("boundary", "reliability", "likelihood"):
                setattr(chains["mixed", "90", seed], name, getattr(chains["restarts", "100", "0"], name))
        chains = {key: chain for key, chain in chains.items() if key[0] != "single_pass"}
        for seed in map(str, range(design["seeds"])):
            kept = {2: 90.0}
            twin = chains["saliency", "90", seed]
            chains["saliency", "90", seed] = again.Chain(**{**vars(twin), "kept": kept})
    return again.Experiment(chains, CLASSES, evaluation, report, design["reference"], design.get("level", 0.05))


def _train(chain, setting, seed, design, labels, first, rng):
    """Learning curves of two iterations, of which all arms share the first."""
    arm, threshold = setting
    steps = design["steps"].get(arm, STEPS)
    for iteration in (1, 2) if arm != "single_pass" else (1,):
        if threshold != "100" and iteration > 1:
            chain.kept[iteration] = float(threshold)
        if iteration == 1 and seed in first:
            chain.validation[1], epochs = first[seed]
            chain.epochs += epochs
            continue
        speed = design["faster"] if arm == "saliency" else 1.0
        matrices, epochs = [], []
        for epoch in range(1, EPOCHS + 1):
            whole = EPOCHS * (iteration - 1) + epoch
            level = 0.8 * (1 - math.exp(-(0.4 + 0.3 * whole * speed))) + design["rising"] * whole
            level += rng.normal(0, design["sd"]) + rng.normal(0, 0.04, VALIDATION)
            matrices.append(confusions(labels, level))
            score = second.average(second.overlaps(matrices[-1].sum(axis=0)))
            taken = STEPS * EPOCHS * (iteration > 1) + (steps if iteration > 1 else STEPS) * epoch
            epochs.append({"iteration": iteration, "steps": taken, "images": 4 * taken, "score": score})
            epochs[-1]["seconds"] = 3.0 * taken
        chain.validation[iteration] = np.stack(matrices)
        chain.epochs += epochs
        if iteration == 1:
            first[seed] = chain.validation[1], epochs


def write_files(folder, experiment):
    """Write what trainings and evaluations leave; return (counts, chains, validation, tables) of `compare_arms`."""
    counts, chains, validation, history, kept = [], [], {}, [], []
    for (arm, threshold, seed), chain in experiment.chains.items():
        counts.append(folder / f"{arm}_{threshold}_{seed}.h5")
        chains.append([arm, threshold, seed])
        with create_hdf5(counts[-1], "counts") as file:
            file.attrs["classes"] = CLASSES
            for protocol, matrices in chain.confusion.items():
                stored = [matrices[::-1], matrices] if protocol == "intact" else [matrices]  # the first model, the last
                file[f"{protocol}/test/confusion"] = np.stack(stored)
            file["intact/validation/confusion"] = chain.confusion["intact"][None, ::-1]
            file["intact/test/boundary"] = chain.boundary[None]
            file["intact/test/reliability"] = chain.reliability[None]
            file["intact/test/nll"] = chain.likelihood[None]
            file["intact/test/objects"] = np.stack(list(chain.objects.values()), axis=1)[None]
            file["intact/test/objects"].attrs["measures"] = list(chain.objects)
        for iteration, matrices in chain.validation.items():
            path = validation[arm, threshold, seed, iteration] = folder / f"{arm}_{threshold}_{seed}_{iteration}_v.h5"
            with create_hdf5(path, "validation_counts") as file:
                file["confusion"] = matrices.astype(np.int32)
        for epoch in chain.epochs:
            row = {"arm": arm, "threshold": threshold, "seed": seed, "iteration": epoch["iteration"]}
            row |= {f"cumulative_{name}": epoch[name] for name in ("steps", "images", "seconds")}
            history.append(row | {"validation_mean_iou": epoch["score"]})
        for iteration, share in chain.kept.items():
            kept.append([arm, threshold, seed, iteration, "kept_share", "all", share])
            kept.append([arm, threshold, seed, iteration, "overlap_iou", "all", share / 2])
    columns = ["arm", "threshold", "seed", "iteration", "measure", "class", "value"]
    pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
    pd.DataFrame(kept, columns=columns).to_csv(folder / "kept_pixels.csv", index=False)
    poorer = [
        ("constant_rim", "test", "mean_iou", "all", 0.1),
        ("position_prior", "validation", "mean_iou", "all", 0.9),
    ]
    poorer += [
        ("position_prior", "test", "mean_iou", "without_rim", 0.9),
        ("constant_disc", "test", "iou", "disc", 0.9),
    ]
    rows = [*poorer, ("position_prior", "test", "mean_iou", "all", experiment.reference)]
    columns = ["predictor", "split", "measure", "class", "value"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "references.csv", index=False)
    return (
        counts,
        chains,
        validation,
        {name: folder / f"{name}.csv" for name in ("history", "kept_pixels", "references")},
    )


class Both:
    """A design put through the library and through the second implementation."""

    def __init__(self, name, folder):
        self.experiment = draw_experiment(name)
        counts, chains, validation, tables = write_files(folder, self.experiment)
        outputs = {each: folder / f"{each}.csv" for each in ("contrasts", "interactions", "racu", "convergence")}
        evaluation, report = self.experiment.evaluation, self.experiment.report
        compare_arms(counts, chains, validation, tables, evaluation, report, outputs, self.experiment.level)
        history = tables["history"]
        measure_convergence(history, tables["kept_pixels"], evaluation["comparators"][0], outputs["convergence"])
        self.contrasts = read_contrasts(outputs["contrasts"])
        types = {"threshold": str, "other_threshold": str, "seed": str}
        self.tables = {each: pd.read_csv(path, dtype=types) for each, path in outputs.items() if each != "contrasts"}
        self.history = pd.read_csv(history, dtype={"threshold": str})
        self.references = pd.read_csv(tables["references"])
        self.scored, self.curves = again.Scored(self.experiment), again.Curves(self.experiment)
        self.rows = again.contrasts(self.experiment, self.scored, self.curves)
        self.crossed = again.interactions(self.experiment, self.scored, self.curves)

    @property
    def final(self):
        """Rows of metrics.csv as far as caveats read them."""
        rows = []
        for (arm, threshold, seed), chain in self.experiment.chains.items():
            place = {"arm": arm, "threshold": threshold, "seed": seed, "protocol": "intact"}
            value = self.scored.whole[arm, threshold, seed]["intact", "mean_iou", "all"] / 100
            rows.append(place | {"measure": "mean_iou", "class": "all", "value": value})
            for each, share in zip(CLASSES, second.overlaps(chain.confusion["intact"].sum(axis=0)), strict=True):
                rows.append(place | {"measure": "iou", "class": each, "value": share})
        return pd.DataFrame(rows)

    @property
    def verdict(self):
        config = {"seeds": self.experiment.seeds, "arms": {}, "evaluation": self.experiment.evaluation}
        shares = {"ground": 70.0, "disc": 25.0, "rim": 5.0}
        tables = (self.contrasts, self.tables["interactions"], self.references, self.final, self.history)
        return reach_verdict(Evidence(*tables, shares), config | {"report": self.experiment.report})


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return cache(lambda name: Both(name, tmp_path_factory.mktemp(name)))


@pytest.mark.parametrize("name", DESIGNS)
def test_every_contrast(both, name):
    columns = [each for each in both(name).contrasts.columns if each not in CONTRAST]
    check_table(both(name).contrasts, CONTRAST, both(name).rows, columns)


@pytest.mark.parametrize("name", DESIGNS)
def test_every_other_table(both, name):
    run = both(name)
    columns = ["n", "difference", "ci_low", "ci_high", "p_value", "p_holm", "family"]
    keys = ["measure", "protocol", "class", "threshold", "other_threshold"]
    check_table(run.tables["interactions"], keys, run.crossed, columns)
    columns = ["target", "steps", "images", "seconds", "comparator_steps", "area", "final"]
    expected = again.convergence(run.experiment, run.curves)
    check_table(run.tables["convergence"], ["arm", "threshold", "seed", "level"], expected, columns)
    areas = again.relative_areas(run.experiment, run.scored)
    expected = {(arm,): row | {"area_over_random": row["difference"]} for arm, row in areas.items()}
    columns = ["n", "thresholds", "area_over_random", "ci_low", "ci_high", "racu"]
    check_table(run.tables["racu"], ["arm"], expected, columns)


@pytest.mark.parametrize("name", DESIGNS)
def test_every_word_of_the_verdict(both, name):
    run = both(name)
    verdict, (primary, *_) = run.verdict, run.experiment.evaluation["comparators"]
    places = [run.experiment.primary_place, *again.SECONDARY]
    for answer, (measure, protocol, group) in zip(verdict.answers, places, strict=True):
        place = (protocol, measure, group)
        words = [row["decision"] for key, row in run.rows.items() if _is_about(key, "saliency", primary, place)]
        about = [row["p_holm"] for key, row in run.crossed.items() if key[:3] == (measure, protocol, group)]
        known = [value for value in about if not np.isnan(value)]
        assert answer.decision == again.summary_word(words, min(known, default=np.nan)), answer.hypothesis
    measure, protocol, group = run.experiment.primary_place
    for answer in verdict.controls:
        about = ("saliency", answer.hypothesis, (protocol, measure, group))
        words = [row["decision"] for key, row in run.rows.items() if _is_about(key, *about)]
        assert answer.decision == again.summary_word(words, np.nan), answer.hypothesis
    steps = [(step.threshold, step.name, *step.sides) for step in verdict.ladder]
    assert steps == again.ladder(run.experiment)
    for step in verdict.ladder:
        assert (step.contrast["measure"], step.contrast["protocol"]) == (measure, protocol)


def _is_about(key, arm, comparator, place):
    return (key[0], key[2], key[4:]) == (arm, comparator, place)


@pytest.mark.parametrize("name", DESIGNS)
def test_every_caveat(both, name):
    run = both(name)
    verdict = run.verdict
    general, under = again.caveats(run.experiment, run.scored, run.curves, run.rows)
    told = {sentence.partition(":")[0]: sentence for sentence in verdict.warnings}
    told = {name.replace("seeds", "seed"): sentence for name, sentence in told.items()}
    assert set(told) == {name.replace("seeds", "seed") for name in general}
    for name, parts in general.items():
        for part in parts:
            assert part in told[name.replace("seeds", "seed")]
    for answer in verdict.answers:
        assert [sentence.partition(":")[0] for sentence in answer.warnings] == under[answer.hypothesis]


def test_the_designs_meet_every_word_and_every_branch(both):
    rows = [(key, row) for name in DESIGNS for key, row in both(name).rows.items()]
    words = Counter(row["decision"] for _, row in rows)
    assert set(words) == set(WORDS)
    about = [row for _, row in rows if row["family"] != "exploratory" and row["n"] > 2 and "p_holm" in row]
    assert any(row["p_value"] < row["level"] < row["p_holm"] for row in about)  # Holm takes a claim away
    assert any(row["decision"] == "equivalent" and row["p_holm"] < row["level"] for row in about)
    held = [row for key, row in rows if key[5] in again.LOST_SCORE and row["seeds_needed"] == np.inf]
    assert any(row["p_holm"] < row["level"] and row["n"] > 2 for row in held)
    assert any(0.02 < row["p_holm"] < 0.05 for row in about if row["level"] == 0.02)
    summaries = {answer.decision for name in DESIGNS for answer in both(name).verdict.answers}
    assert {"depends", "partly", "equivalent", "undecided", "undefined"} <= summaries
    warned = {line.partition(":")[0] for name in DESIGNS for line in both(name).verdict.warnings}
    assert {"Few seeds", "Weak baseline", "Nothing learnt", "Collapsed", "Still improving"} <= warned
