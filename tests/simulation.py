"""Draw whole experiments with known effects and put them through the decisions of the workflow, many at once."""

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from spatial_reduction.analysis.decisions import PRIMARY, SECONDARY, agree, judge
from spatial_reduction.analysis.measures import HYPOTHESES, deciding_measures
from spatial_reduction.analysis.statistics import (
    LEVEL,
    ImageNoise,
    Spread,
    adjust_holm,
    decide,
    equivalence_test,
    half_width,
    shared_variance,
    spread_of_mean,
    t_test,
)

LOT = 50  # experiments drawn at once: about 100 MB
MARGIN = 0.5
COLLAPSE = -30.0  # points that a collapsed training loses
LEVELS = {"H1b": "corrupted", "H3": "swapped"}  # whose loss is from intact to changed images
CLAIMS = ["supported", "refuted"]


@dataclass(frozen=True)
class Design:
    """The method at several thresholds, the primary comparator, controls at the same thresholds; numbers in points.

    Attributes:
        seeds, thresholds, controls: how many.
        images, validation: test images and validation images.
        effects: true difference of the method from all others in the score that decides H1 (so in those on changed
            images, too) and in that of H2, the same at every threshold.
        seed_sd: standard deviation over seeds of a difference.
        image_sd: of a mean difference over draws of the test images, the same for all seeds.
        interplay_sd: of one seed's mean difference over such draws, what is the seed's own (seed x image).
        tails: degrees of freedom of the t distribution of what the seeds give; None is normal.
        collapse: probability that a training collapses.
    """

    seeds: int
    thresholds: int = 5
    controls: int = 0
    images: int = 179
    validation: int = 44
    effects: dict[str, float] = field(default_factory=dict)
    seed_sd: float = 1.0
    image_sd: float = 0.3
    interplay_sd: float = 0.0
    tails: int | None = None
    collapse: float = 0.0


# What the configurations of the project ask: config.yaml, ablation.yaml over oxford_pet.yaml, full.yaml over it. Arms
# beside the method and its controls are exploratory and cannot claim anything, however many there are.
SHIPPED = {
    "demo": {"thresholds": 2, "controls": 0, "images": 78, "validation": 32},
    "ablation": {"thresholds": 5, "controls": 2},
    "full": {"thresholds": 5, "controls": 2, "images": 3669, "validation": 368},
}


@dataclass(frozen=True)
class Outcome:
    """What a design's experiments say.

    Attributes:
        table: rows of the contrasts, judged, with columns experiment, hypothesis, threshold and truth.
        words: (experiments, hypotheses), see `decisions.agree`.
    """

    table: pd.DataFrame
    words: np.ndarray

    def claiming(self, family: str) -> np.ndarray:
        """Whether a family calls anything supported or refuted, bool (experiments,); of controls, the first."""
        rows = self.table[(self.table["family"] == family) & (self.table["control"] <= 0)]
        is_claim = rows["decision"].isin(CLAIMS)
        return is_claim.groupby(rows["experiment"]).any().to_numpy()

    def decided(self, hypothesis: str, word: str) -> np.ndarray:
        """Whether a hypothesis is decided so at the first threshold, bool (experiments,)."""
        return (self._first(hypothesis)["decision"] == word).to_numpy()

    def covered(self, hypothesis: str) -> np.ndarray:
        """Whether the interval at the first threshold holds the truth, bool (experiments,)."""
        rows = self._first(hypothesis)
        return ((rows["ci_low"] <= rows["truth"]) & (rows["truth"] <= rows["ci_high"])).to_numpy()

    def _first(self, hypothesis: str) -> pd.DataFrame:
        return self.table[(self.table["hypothesis"] == hypothesis) & (self.table["threshold"] == 0)]


def simulate(design: Design, experiments: int, seed: int = 0) -> Outcome:
    """Run a design many times.

    The score of a model on an image is the sum of what the arm, its seed, the image as the arm sees it, and this seed
    with this image give. The comparator is the same at all thresholds, so that differences there are correlated, as in
    a real run; losses are made from the scores on intact and changed images.
    """
    rng = np.random.default_rng(seed)
    tables, crossed = [], []
    for start in range(0, experiments, LOT):
        count = min(LOT, experiments - start)
        scores = _draw_scores(design, count, rng)
        table, between = _contrast_rows(design, scores)
        table["experiment"] += start
        tables.append(table)
        crossed.append(between)
    table = pd.concat(tables, ignore_index=True)
    table["comparator"] = table["experiment"].astype(str) + " " + table["control"].astype(str)  # families of their own
    table = judge(table.assign(level=LEVEL))
    return Outcome(table, _words(table, np.concatenate(crossed)))


def simulate_primary(design: Design, experiments: int, seed: int = 0) -> np.ndarray:
    """Run a design many times; return what H1 says at each threshold, (experiments, thresholds).

    As `simulate` does, with the primary family alone: a quarter of the time.
    """
    rng, decisions = np.random.default_rng(seed), []
    for start in range(0, experiments, LOT):
        scores = _draw(design, (min(LOT, experiments - start), 1 + design.thresholds, design.seeds, design.images), rng)
        differences = scores[:, 1:] - scores[:, :1] + design.effects.get("H1", 0.0)
        mean, spread, p_value, _ = _tests(differences)
        p_equivalence = adjust_holm(equivalence_test(mean, spread, MARGIN))
        decisions.append(decide(p_equivalence, adjust_holm(p_value), mean))
    return np.concatenate(decisions)


def _draw_scores(design: Design, count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return {images: scores (experiments, settings, seeds, N)}: comparator, method and each control at thresholds."""
    settings = 1 + design.thresholds * (1 + design.controls)
    method = slice(1, 1 + design.thresholds)
    fallen = COLLAPSE * (rng.random((count, settings, design.seeds)) < design.collapse)
    scores = {}
    for name, images in (("intact", design.images), ("validation", design.validation)):
        scores[name] = _draw(design, (count, settings, design.seeds, images), rng) + fallen[..., None]
        scores[name][:, method] += design.effects.get("H1" if name == "intact" else "H2", 0.0)
    for name in LEVELS.values():
        scores[name] = scores["intact"] + _draw(design, scores["intact"].shape, rng)
    return scores


def _draw(design: Design, shape: tuple[int, int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw what makes a difference of two settings have the spreads of the design."""
    count, settings, seeds, images = shape
    of_seeds = rng.standard_normal((count, settings, seeds, 1))
    if design.tails:
        of_seeds = rng.standard_t(design.tails, of_seeds.shape) * np.sqrt((design.tails - 2) / design.tails)
    drawn = design.seed_sd * of_seeds
    drawn = drawn + design.image_sd * np.sqrt(images) * rng.standard_normal((count, settings, 1, images))
    if design.interplay_sd:
        drawn += design.interplay_sd * np.sqrt(images) * rng.standard_normal(shape)
    return drawn / np.sqrt(2)


def _contrast_rows(design: Design, scores: dict[str, np.ndarray]) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the rows of all contrasts, not judged, and p-values (experiments, hypotheses, pairs of thresholds)."""
    kinds = {"H1": scores["intact"], "H2": scores["validation"]}
    kinds |= {name: scores["intact"] - scores[level] for name, level in LEVELS.items()}
    method = slice(1, 1 + design.thresholds)
    rows, crossed = [], []
    for hypothesis in HYPOTHESES:
        differences = kinds[hypothesis][:, method] - kinds[hypothesis][:, :1]
        extra = {"family": PRIMARY if hypothesis == "H1" else SECONDARY, "hypothesis": hypothesis, "control": -1}
        if hypothesis in LEVELS:
            level = scores[LEVELS[hypothesis]]
            extra["level_difference"] = (level[:, method] - level[:, :1]).mean(axis=(2, 3)).ravel()
            start = scores["intact"]
            extra["start_difference"] = (start[:, method] - start[:, :1]).mean(axis=(2, 3)).ravel()
        rows.append(_summary(design, differences, hypothesis, extra))
        pairs = [differences[:, i] - differences[:, j] for i, j in combinations(range(design.thresholds), 2)]
        crossed.append(_tests(np.stack(pairs, axis=1))[2] if pairs else np.full((len(differences), 1), np.nan))
    for control in range(design.controls):
        others = slice(*(1 + design.thresholds * (1 + control + step) for step in (0, 1)))
        differences = kinds["H1"][:, method] - kinds["H1"][:, others]
        rows.append(_summary(design, differences, "H1", {"family": "control", "hypothesis": "", "control": control}))
    return pd.concat(rows, ignore_index=True), np.stack(crossed, axis=1)


def _tests(differences: np.ndarray) -> tuple[np.ndarray, Spread, np.ndarray, np.ndarray]:
    """Return mean, spread, p-value and the images' standard error of differences (experiments, tests, seeds, N)."""
    images, seeds = differences.shape[-1], differences.shape[-2]
    noise = ImageNoise(
        differences.mean(axis=-2).var(axis=-1, ddof=1) / images,
        differences.var(axis=-1, ddof=1).mean(axis=-1) / images,
        images,
    )
    per_seed = differences.mean(axis=-1)
    mean, spread = per_seed.mean(axis=-1), spread_of_mean(per_seed, noise)
    return mean, spread, t_test(mean, spread), np.sqrt(shared_variance(noise, seeds))


def _summary(design: Design, differences: np.ndarray, hypothesis: str, extra: dict[str, object]) -> pd.DataFrame:
    mean, spread, p_value, image_sd = _tests(differences)
    reach, measure = half_width(spread), deciding_measures("mean_iou")[hypothesis][0]
    truth = design.effects.get(hypothesis, 0.0)
    experiment, threshold = np.indices(mean.shape)
    columns = {
        "experiment": experiment,
        "threshold": threshold,
        "difference": mean,
        "ci_low": mean - reach,
        "ci_high": mean + reach,
        "p_value": p_value,
        "p_equivalence": equivalence_test(mean, spread, MARGIN),
        "seed_sd": differences.mean(axis=-1).std(axis=-1, ddof=1),
        "image_sd": image_sd,
    }
    table = pd.DataFrame({name: values.ravel() for name, values in columns.items()})
    common = {"measure": measure, "n": design.seeds, "margin": MARGIN, "truth": truth, "is_learnt": True}
    empty = {"is_same": False, "level_difference": np.nan, "start_difference": np.nan}
    return table.assign(**(common | empty | extra))


def _words(table: pd.DataFrame, crossed: np.ndarray) -> np.ndarray:
    """Return one word per experiment and hypothesis."""
    names, adjusted = list(HYPOTHESES), np.empty_like(crossed)
    for members in ([0], [1, 2, 3]):  # the primary family, the secondary one
        family = crossed[:, members].reshape(len(crossed), -1)
        adjusted[:, members] = adjust_holm(family).reshape(len(crossed), len(members), -1)
    words = np.empty((len(crossed), len(names)), dtype=object)
    rows = table[table["hypothesis"] != ""]
    for (hypothesis, experiment), found in rows.groupby(["hypothesis", "experiment"])["decision"]:
        place = names.index(hypothesis)
        decisions = dict(enumerate(found))
        words[experiment, place] = agree(decisions, adjusted[experiment, place].min())
    return words


def binomial_interval(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper and Pearson 1934)."""
    found = stats.binomtest(int(hits), n).proportion_ci(confidence_level=level, method="exact")
    return float(found.low), float(found.high)
