"""Compare the last model of every arm with that of the comparators: `contrasts.csv`, `interactions.csv`, `racu.csv`."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spatial_reduction.analysis.comparators import FULL, Setting, pair_settings
from spatial_reduction.analysis.convergence import Iterations, compare_convergence, read_curves
from spatial_reduction.analysis.counts_file import measure_counts, pool, pool_resamples, read_counts
from spatial_reduction.analysis.decisions import PRIMARY, SECONDARY, deciding_score, family_of, judge, plan_seeds
from spatial_reduction.analysis.looks import look_levels, remember_comparison
from spatial_reduction.analysis.measures import HYPOTHESES, LOSSES, MEASURES, Score, margin_of
from spatial_reduction.analysis.racu import COLUMNS as AREA_COLUMNS
from spatial_reduction.analysis.racu import RANDOM, area_weights, find_areas, relative_area
from spatial_reduction.analysis.statistics import LEVEL, PairedSample, adjust_holm, image_weights
from spatial_reduction.analysis.tables import removed_shares
from spatial_reduction.evaluation.references import best_reference
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import written_whole
from spatial_reduction.runtime.log import progress, say

SEED = 0  # of the bootstrap: the same tables give the same intervals
PLACE = ["arm", "threshold", "comparator", "comparator_threshold", "protocol", "measure", "class"]
COLUMNS = ["family", *PLACE, "n", "difference", "ci_low", "ci_high", "p_value", "p_holm", "p_wilcoxon"]
COLUMNS += ["p_equivalence", "p_equivalence_holm", "probability_better", "seed_sd", "image_sd", "margin", "level"]
COLUMNS += ["start_difference", "level_difference", "less_to_lose", "decision", "seeds_needed"]
INTERACTION = ["family", "measure", "protocol", "class", "threshold", "other_threshold"]
INTERACTION += ["n", "difference", "ci_low", "ci_high", "p_value", "p_holm"]
MEAN_IOU = Score("intact", "mean_iou", "all")
Scores = Mapping[Score, tuple[float, np.ndarray]]  # of one model: on the images as they are, and on resamples, (B,)
Term = tuple[float, Setting, Score]  # a difference is the sum of factors times scores


def compare_arms(
    counts: Sequence[str | Path],
    chains: Sequence[Sequence[str]],
    validation: Iterations,
    tables: Mapping[str, str | Path],
    evaluation: Mapping[str, Any],
    report: Mapping[str, Any],
    outputs: Mapping[str, str | Path],
    level: float = LEVEL,
    seen: str | Path | None = None,
) -> None:
    """Write the differences of every arm at every threshold from the comparators, and of the method from the controls.

    `contrasts.csv` has one row per arm, threshold, comparator, protocol and measure. A difference is arm minus
    comparator at each arm's last iteration, paired by seed, in the measure's unit (`measures.MEASURES`: percentage
    points, nats, bits, steps); "supported" always means that the arm is better. A comparator that removes pixels is
    paired at the arm's own threshold, and left out where it lacks that one. On masked test images (self_masked,
    label_masked) an arm is compared with the score on intact ones of a comparator that masks nothing. Columns as in
    `statistics.Contrast` and `decisions.judge`; margin: `measures.margin_of`; start_difference, level_difference: of
    a loss, the differences of the scores on intact and on changed images.

    `interactions.csv`: the change of the method's difference from the primary comparator between two thresholds, in
    the measures that decide hypotheses; adjusted (Holm) over the pairs of thresholds, the primary family by itself.

    `racu.csv`: see `racu.relative_area`; of the mean IoU over all classes on intact test images.

    Args:
        counts: `counts.h5` of each chain.
        chains: (arm, threshold, seed) of each.
        validation: {(arm, threshold, seed, iteration): `validation_counts.h5`}.
        tables: {"history", "kept_pixels", "references"}: the files of that name.
        evaluation, report: sections of the configuration.
        outputs: {"contrasts", "interactions", "racu"}: files to write.
        level: of the tests of the primary family, whose intervals cover 1 - level; less than .05 at a look before the
            last planned one, see `looks`. All else is tested at .05.
        seen: remembers with which seeds this was compared, see `looks.remember_comparison`.

    Raises:
        InputError: a file is damaged, or the files are not of the same test images.
    """
    history, kept = (pd.read_csv(tables[name], dtype={"threshold": str}) for name in ("history", "kept_pixels"))
    settings = list(dict.fromkeys(Setting(arm, threshold) for arm, threshold, _ in chains))
    differences = _Differences(settings, removed_shares(kept), evaluation, report, level)
    for scores in _score_seeds(counts, chains, evaluation):
        differences.add(scores)
    speed, speed_between = compare_convergence(read_curves(history, kept), validation, evaluation, report)
    table = _judged([*differences.contrasts(), *speed], differences, tables["references"])
    between = _adjusted([*differences.interactions(), *speed_between], report)
    areas = pd.DataFrame(differences.relative_areas(), columns=AREA_COLUMNS)
    for name, written in (("contrasts", table[COLUMNS]), ("interactions", between), ("racu", areas)):
        with written_whole(outputs[name]) as partial:
            written.to_csv(partial, index=False)
    if seen is not None:
        remember_comparison(seen, differences.deciding_scores(list(dict.fromkeys(seed for *_, seed in chains))))
    say(f"{outputs['contrasts']}: {len(table)} contrasts")


def decide_look(
    counts: Sequence[str | Path],
    chains: Sequence[Sequence[str]],
    references: str | Path,
    evaluation: Mapping[str, Any],
    report: Mapping[str, Any],
    looks: Sequence[int],
    seeds: int,
    output: str | Path,
) -> None:
    """Write whether the seeds of a look are enough: JSON {seeds, level, decisions by threshold, stops}.

    The primary family is tested at the level that `looks.look_levels` gives this look. An experiment stops where every
    threshold is decided (supported, refuted or equivalent), or at the last look.

    Args:
        counts: `counts.h5` of the chains of the method and the primary comparator, for the seeds of this look.
        chains: (arm, threshold, seed) of each.
        references: `references.csv`.
        looks: planned numbers of seeds.
        seeds: of this look.
    """
    level = look_levels(looks)[list(looks).index(seeds)]
    only = {**evaluation, "comparators": evaluation["comparators"][:1], "controls": []}
    settings = list(dict.fromkeys(Setting(arm, threshold) for arm, threshold, _ in chains))
    differences = _Differences(settings, {}, only, report, level)
    for scores in _score_seeds(counts, chains, evaluation):
        differences.add(scores)
    table = _judged(differences.contrasts(), differences, references)
    primary = table[table["family"] == PRIMARY]
    decisions = dict(zip(primary["threshold"], primary["decision"], strict=True))
    is_settled = bool(decisions) and set(decisions.values()) <= {"supported", "refuted", "equivalent"}
    found = {"seeds": seeds, "level": level, "decisions": decisions, "stops": is_settled or seeds == looks[-1]}
    with written_whole(output) as partial:
        partial.write_text(json.dumps(found, indent=1), encoding="utf-8")
    words = ", ".join(f"{word} at top {threshold} %" for threshold, word in decisions.items())
    say(f"{output}: after {seeds} seeds, tested at {level:.4f}: {words}; {'stops' if found['stops'] else 'goes on'}")


def _judged(rows: Iterable[Mapping[str, Any]], differences: "_Differences", references: str | Path) -> pd.DataFrame:
    """Return the rows with their family, margin, level and decision."""
    evaluation, report = differences.evaluation, differences.report
    least = 100 * best_reference(references) + margin_of("mean_iou", evaluation["margins"])
    table = pd.DataFrame(rows, columns=[*COLUMNS, "is_same", "is_learnt"])
    table["margin"] = [margin_of(measure, evaluation["margins"]) for measure in table["measure"]]
    table["family"] = [
        family_of(arm, comparator, Score(*score), evaluation, report)
        for arm, comparator, *score in zip(
            *(table[name] for name in ("arm", "comparator", "protocol", "measure", "class")), strict=True
        )
    ]
    table["level"] = np.where(table["family"] == PRIMARY, differences.level, LEVEL)
    settings = {setting for setting, key in differences.scores if key == MEAN_IOU}
    learnt = {setting: np.mean(differences.scores[setting, MEAN_IOU]) > least for setting in settings}
    sides = zip(*(table[name] for name in PLACE[:4]), strict=True)
    table["is_learnt"] = [learnt[arm, at] and learnt[other, theirs] for arm, at, other, theirs in sides]
    table = judge(table)
    table["seeds_needed"] = plan_seeds(table)
    return table


class _Differences:
    """Every difference that is asked for, gathered seed by seed."""

    def __init__(
        self,
        settings: Sequence[Setting],
        removed: Mapping[Setting, float],
        evaluation: Mapping[str, Any],
        report: Mapping[str, Any],
        level: float,
    ) -> None:
        self.evaluation, self.report, self.removed, self.level = evaluation, report, removed, level
        method, self.primary = report["method"], evaluation["comparators"][0]
        self.pairs = list(pair_settings(settings, evaluation["comparators"], evaluation["controls"], method))
        self.main = [pair for pair in self.pairs if (pair[0][0], pair[1][0]) == (method, self.primary)]
        self.crossed = list(combinations(self.main, 2))
        self.deciding = [deciding_score(hypothesis, report) for hypothesis in HYPOTHESES]
        self.areas = find_areas(settings, removed)
        self.samples: dict[Any, PairedSample] = {}
        self.scores: dict[tuple[Setting, Score], list[float]] = defaultdict(list)

    def add(self, scores: Mapping[Setting, tuple[int, Scores]]) -> None:
        """Add one seed: of every setting the number of test images and the scores."""
        for setting, (_, found) in scores.items():
            for key, (value, _) in found.items():
                self.scores[setting, key].append(value)
        for pair in self.pairs:
            for key in scores[pair[0]][1]:
                self._add((pair, key), self._terms(scores, pair, key), scores)
        for one, other in self.crossed:
            for key in self.deciding:
                ours, theirs = (self._terms(scores, pair, key) for pair in (one, other))
                self._add((one, other, key), [*ours, *((-factor, *rest) for factor, *rest in theirs)], scores)
        for arm, thresholds in self.areas.items():
            weights = area_weights([self.removed[arm, at] for at in thresholds])
            terms = [
                (sign * weight, (name, at), MEAN_IOU)
                for name, sign in ((arm, 1.0), (RANDOM, -1.0))
                for weight, at in zip(weights, thresholds, strict=True)
            ]
            self._add(arm, terms, scores)

    def deciding_scores(self, seeds: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return {seed: {setting: score}} of the method and the primary comparator, in what decides hypothesis 1.

        Args:
            seeds: in the order in which they were added.
        """
        sides = dict.fromkeys(side for pair in self.main for side in pair)
        found = {f"{arm} {at}": self.scores.get(((arm, at), self.deciding[0]), []) for arm, at in sides}
        return {
            seed: {name: values[place] for name, values in found.items() if values} for place, seed in enumerate(seeds)
        }

    def _terms(
        self, scores: Mapping[Setting, tuple[int, Scores]], pair: tuple[Setting, Setting], key: Score
    ) -> list[Term]:
        """Return the terms of a difference; none if it is not asked for or a side was not measured."""
        ours, theirs = pair
        other = key
        if key not in scores[theirs][1] and key.protocol in ("self_masked", "label_masked"):
            other = key._replace(protocol="intact")
        is_measured = key in scores[ours][1] and other in scores[theirs][1]
        if key.measure not in self.evaluation["measures"] or not is_measured:
            return []
        return [(1.0, ours, key), (-1.0, theirs, other)]

    def _add(self, name: Any, terms: Sequence[Term], scores: Mapping[Setting, tuple[int, Scores]]) -> None:
        if terms:
            parts = [(factor, *scores[setting][1][key]) for factor, setting, key in terms]
            sample = self.samples.setdefault(name, PairedSample(scores[terms[0][1]][0]))
            sample.add(sum(f * value for f, value, _ in parts), sum(f * resampled for f, _, resampled in parts))

    def contrasts(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of `contrasts.csv`, as far as the samples tell."""
        for pair in self.pairs:
            for key in {key: None for setting, key in self.scores if setting == pair[0]}:
                if sample := self.samples.get((pair, key)):
                    ours, theirs = pair
                    measure = key.measure
                    row = dict(zip(PLACE, (*ours, *theirs, *key), strict=True)) | {"is_same": sample.is_zero}
                    if measure in LOSSES:
                        level = key._replace(measure=LOSSES[measure])
                        start = level._replace(protocol="intact")
                        row["level_difference"], row["start_difference"] = (
                            float(np.mean(self.scores[ours, score]) - np.mean(self.scores[theirs, score]))
                            for score in (level, start)
                        )
                    is_primary = family_of(ours.arm, theirs.arm, key, self.evaluation, self.report) == PRIMARY
                    margin, level = margin_of(measure, self.evaluation["margins"]), self.level if is_primary else LEVEL
                    yield row | asdict(sample.contrast(margin, MEASURES[measure].higher_is_better, level))

    def interactions(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of `interactions.csv`, not adjusted."""
        for one, other in self.crossed:
            for key in self.deciding:
                if sample := self.samples.get((one, other, key)):
                    result = asdict(sample.contrast(margin_of(key.measure, self.evaluation["margins"])))
                    place = (key.measure, key.protocol, key.group, one[0].threshold, other[0].threshold)
                    yield dict(zip(INTERACTION[1:6], place, strict=True)) | result

    def relative_areas(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of `racu.csv`."""
        margin = margin_of("mean_iou", self.evaluation["margins"])
        intact = self.scores.get(((self.primary, FULL), MEAN_IOU)) if (self.primary, FULL) not in self.removed else None
        for arm, thresholds in self.areas.items():
            result = self.samples[arm].contrast(margin)
            ours, chance = ([self.scores[(name, at), MEAN_IOU] for at in thresholds] for name in (arm, RANDOM))
            ratio = relative_area(ours, chance, intact, [self.removed[arm, at] for at in thresholds], margin)
            values = [arm, result.n, " ".join(thresholds), result.difference, result.ci_low, result.ci_high, ratio]
            yield dict(zip(AREA_COLUMNS, values, strict=True))


def _adjusted(rows: Iterable[Mapping[str, Any]], report: Mapping[str, Any]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=INTERACTION)
    first = deciding_score("H1", report)
    places = zip(table["protocol"], table["measure"], table["class"], strict=True)
    table["family"] = [PRIMARY if place == first else SECONDARY for place in places]
    table["p_holm"] = table.groupby("family")["p_value"].transform(lambda values: adjust_holm(values.to_numpy(float)))
    return table


def _score_seeds(
    paths: Sequence[str | Path], chains: Sequence[Sequence[str]], evaluation: Mapping[str, Any]
) -> Iterator[dict[Setting, tuple[int, Scores]]]:
    """Yield the scores of all settings, seed by seed, in printed units."""
    weights, first = None, None
    by_seed: dict[str, dict[Setting, str | Path]] = defaultdict(dict)
    for path, (arm, threshold, seed) in zip(paths, chains, strict=True):
        by_seed[seed][arm, threshold] = path
    for found in progress(by_seed.values(), len(by_seed), "comparing", "seeds"):
        scores: dict[Setting, tuple[int, Scores]] = {}
        for setting, path in found.items():
            counts, classes = read_counts(path)
            true = counts["intact/confusion"].sum(axis=2)  # pixels of each class in each image: what tells images apart
            if weights is None:
                weights, first = image_weights(len(true), evaluation["resamples"], SEED), true
            if not np.array_equal(true, first):
                raise InputError(
                    f"{path}: its {len(true)} test images are not the {len(first)} of {paths[0]}, or not in their "
                    "order; delete both and run again"
                )
            about = (classes, evaluation["class_groups"], evaluation["foreground"])
            values = measure_counts(pool(counts), *about)
            resampled = measure_counts(pool_resamples(counts, weights), *about)
            scale = {key: MEASURES[key.measure].scale for key in values}
            scores[setting] = (
                len(true),
                {key: (scale[key] * float(value), scale[key] * resampled[key]) for key, value in values.items()},
            )
        yield scores
