"""The statistics written a second time, by their description alone: nothing of the library is imported.

Plain NumPy and SciPy, one contrast, one resample and one epoch at a time. docs/methods.md and
docs/tables.md say what is computed.
"""

import bisect
from dataclasses import dataclass, field
from itertools import combinations, product

import numpy as np
from scipy import optimize, special, stats

from second_implementation import average, overlaps

NATS_AND_BITS = ("nll", "variation_of_information", "vi_split", "vi_merge", "variation_of_information_thinned")
LESS_IS_BETTER = (*NATS_AND_BITS, "ece", "rand_error", "corruption_drop", "background_swapped_drop")
LESS_IS_BETTER += ("background_blurred_drop", "steps_to_95")
LOST_SCORE = {"corruption_drop": "mean_iou", "background_swapped_drop": "binary_iou"}
LOST_SCORE["background_blurred_drop"] = "binary_iou"
SECONDARY = [("corruption_drop", "corrupted", "all"), ("validation_area", "validation", "all")]
SECONDARY += [("background_swapped_drop", "background_swapped", "foreground")]
MASKED = ("self_masked", "label_masked")


@dataclass
class Chain:
    """What is known of an arm, a threshold and a seed.

    `confusion` is {protocol: (N, C, C)} of the last model on test images, `boundary` (N, C, 2), `reliability`
    (N, 15, 3), `likelihood` (N, 2), `objects` {measure: (N, 2)}. `epochs` are dicts (iteration, steps, images, seconds,
    score), `validation` {iteration: (E, N, C, C)}, `kept` {iteration: per cent}.
    """

    confusion: dict
    epochs: list
    validation: dict
    kept: dict = field(default_factory=dict)
    boundary: np.ndarray | None = None
    reliability: np.ndarray | None = None
    likelihood: np.ndarray | None = None
    objects: dict = field(default_factory=dict)


@dataclass
class Experiment:
    """Chains by (arm, threshold, seed), and what the configuration asks. `reference` is in [0, 1]."""

    chains: dict
    classes: list
    evaluation: dict
    report: dict
    reference: float
    level: float = 0.05

    @property
    def settings(self):
        return list(dict.fromkeys(key[:2] for key in self.chains))

    @property
    def seeds(self):
        return list(dict.fromkeys(key[2] for key in self.chains))

    def margin(self, measure):
        margins = self.evaluation["margins"]
        in_points = measure not in (*NATS_AND_BITS, "steps_to_95")
        return margins.get(measure, margins["default"] * (1 if in_points else 0.01))

    @property
    def primary_place(self):
        measure = self.report["measure"]
        group = self.report["class_group"] if measure in ("mean_iou", "mean_dice") else "all"
        return (measure, "intact", "foreground" if measure == "binary_iou" else group)

    @property
    def pairs(self):
        """Who is compared with whom."""
        comparators, controls = self.evaluation["comparators"], self.evaluation["controls"]
        found = []
        for other in dict.fromkeys([*comparators, *controls]):
            at = [threshold for arm, threshold in self.settings if arm == other]
            for arm, threshold in self.settings:
                if arm == other or (other not in comparators and arm != self.report["method"]):
                    continue
                if threshold in at:
                    found.append(((arm, threshold), (other, threshold)))
                elif at == ["100"]:
                    found.append(((arm, threshold), (other, "100")))
        return found


def draw_weights(images, resamples):
    """Rubin's Bayesian bootstrap: exponential weights, as many in sum as there are images."""
    drawn = np.random.default_rng(0).standard_exponential((resamples, images), dtype=np.float32)
    return drawn.astype(float) * images / drawn.sum(axis=1, keepdims=True, dtype=float)


def bootstrap_variance(values, images):
    return np.var(values, ddof=1) * (images + 1) / (images - 1) if images > 1 else 0.0


def measures_of(chain, weights, experiment):
    """Every measure of one weighting of the test images, in printed units: {(protocol, measure, class): value}."""
    classes, evaluation = experiment.classes, experiment.evaluation

    def pooled(counts):
        return np.tensordot(weights, counts, 1)

    labelled = [index for index in range(len(classes)) if chain.confusion["intact"][:, index].sum() > 0]
    front = [classes.index(name) for name in evaluation["foreground"]]
    groups = {"all": classes, **evaluation["class_groups"]}
    found, mean_iou, front_iou = {}, {}, {}
    for protocol, counts in chain.confusion.items():
        matrix = pooled(counts)
        mean_iou[protocol] = average(overlaps(matrix)[labelled])
        hit = matrix[np.ix_(front, front)].sum()
        front_iou[protocol] = hit / (matrix[front].sum() + matrix[:, front].sum() - hit)
        if protocol in ("intact", *MASKED):
            for group, names in groups.items():
                members = [index for index in labelled if classes[index] in names]
                for name, is_dice in (("mean_iou", False), ("mean_dice", True)):
                    found[protocol, name, group] = average(overlaps(matrix, is_dice)[members])
            found[protocol, "binary_iou", "foreground"] = front_iou[protocol]
            found[protocol, "pixel_accuracy", "all"] = np.trace(matrix) / matrix.sum()
    families = ("noise", "blur", "brightness", "contrast", "jpeg", "occlusion")
    corrupted = [value for name, value in mean_iou.items() if name.rpartition("_")[0] in families]
    if corrupted:
        found["corrupted", "mean_iou", "all"] = np.mean(corrupted)
        found["corrupted", "corruption_drop", "all"] = mean_iou["intact"] - np.mean(corrupted)
    for name in ("background_swapped", "background_blurred"):
        if name in front_iou:
            found[name, "binary_iou", "foreground"] = front_iou[name]
            found[name, f"{name}_drop", "foreground"] = front_iou["intact"] - front_iou[name]
    if chain.boundary is not None:
        both, either = pooled(chain.boundary).T
        found["intact", "mean_boundary_iou", "all"] = average((both / either)[labelled])
        bins = pooled(chain.reliability)
        found["intact", "ece", "all"] = np.abs(bins[:, 2] - bins[:, 1]).sum() / bins[:, 0].sum()
        found["intact", "nll", "all"] = np.divide(*pooled(chain.likelihood))
    for name, counts in chain.objects.items():
        found["intact", name, "all"] = np.divide(*pooled(counts))
    return {key: value if key[1] in NATS_AND_BITS else 100 * value for key, value in found.items()}


def exact_wilcoxon(differences):
    """Two-sided, over all signs; equal sizes share their mean rank."""
    nonzero = [each for each in differences if each]
    ranks = stats.rankdata(np.abs(nonzero))
    found = sum(rank for rank, each in zip(ranks, nonzero, strict=True) if each > 0)
    sums = [sum(r for r, up in zip(ranks, signs, strict=True) if up) for signs in product((0, 1), repeat=len(nonzero))]
    low, high = np.mean([each <= found for each in sums]), np.mean([each >= found for each in sums])
    return min(1.0, 2 * min(low, high))


def summarise(differences, resampled, images, margin, level=0.05, better=1):
    """The columns of a contrast, from one difference per seed, (n,), and those on resamples, (n, B)."""
    n, mean = len(differences), np.mean(differences)
    nothing = dict.fromkeys(("ci_low", "ci_high", "p_value", "p_equivalence"), np.nan)
    of_mean = bootstrap_variance(np.mean(resampled, axis=0), images)
    if n > 1:
        of_each = np.mean([bootstrap_variance(each, images) for each in resampled])
        of_images, of_seeds = max(0.0, of_mean - (of_each - of_mean) / (n - 1)), np.var(differences, ddof=1) / n
        error, share = np.sqrt(of_images + of_seeds), of_seeds / ((of_images + of_seeds) or np.nan)
        freedoms = ((share, n - 1), (1 - share, max(1, images - 1)))

        def tail(size):
            if not error:
                return 0.5 - 0.5 * np.sign(size)
            return sum(part * special.stdtr(freedom, -size / error) for part, freedom in freedoms)

        reach = optimize.brentq(lambda size: tail(size) - level / 2, 0, 1e4 * error) if error else 0.0
        nothing = {"ci_low": mean - reach, "ci_high": mean + reach, "p_value": min(1, 2 * tail(abs(mean)))}
        nothing["p_equivalence"] = tail(margin - abs(mean))
    return nothing | {
        "n": n,
        "difference": mean,
        "p_wilcoxon": exact_wilcoxon(differences),
        "probability_better": np.mean([1 if better * each > 0 else 0.5 if each == 0 else 0 for each in differences]),
        "seed_sd": np.std(differences, ddof=1) if n > 1 else np.nan,
        "image_sd": np.sqrt(of_images if n > 1 else of_mean),
        "is_same": not np.any(differences) and not np.any(np.var(resampled, axis=1)),
    }


def holm(p_values):
    """Adjusted; what is missing is no test. The k-th smallest of m is multiplied by m - k + 1; none falls again."""
    known = sorted((value, place) for place, value in enumerate(p_values) if not np.isnan(value))
    adjusted, largest = np.full(len(p_values), np.nan), 0.0
    for rank, (value, place) in enumerate(known):
        largest = adjusted[place] = max(largest, min(1.0, value * (len(known) - rank)))
    return adjusted


def seeds_for(row, level):
    """The first number of seeds with a power of .8 for the margin, two-sided, by the noncentral t distribution."""
    if np.isnan(row["seed_sd"]) or np.isnan(row["image_sd"]):
        return np.inf

    def is_enough(n):
        error = np.sqrt(row["seed_sd"] ** 2 / n + row["image_sd"] ** 2)
        if not error or row["margin"] / error > 100:
            return True
        return stats.nct.sf(stats.t.isf(level / 2, n - 1), n - 1, row["margin"] / error) >= 0.8

    if not is_enough(10_000):
        return np.inf
    return 3 + bisect.bisect_left(range(3, 10_001), True, key=is_enough)


class Scored:
    """Every chain of an experiment measured on the test images and on their resamples."""

    def __init__(self, experiment):
        self.experiment = experiment
        counts = next(iter(experiment.chains.values())).confusion["intact"]
        self.images = len(counts)
        weights = draw_weights(self.images, experiment.evaluation["resamples"])
        self.whole, self.resampled = {}, {}
        for key, chain in experiment.chains.items():
            self.whole[key] = measures_of(chain, np.ones(self.images), experiment)
            drawn = [measures_of(chain, each, experiment) for each in weights]
            self.resampled[key] = {name: np.array([each[name] for each in drawn]) for name in self.whole[key]}

    def mean(self, setting, key):
        return np.mean([self.whole[*setting, seed][key] for seed in self.experiment.seeds])

    def combined(self, terms):
        """Differences, and on resamples, of a sum of (factor, setting, key), by seed."""
        return [
            [sum(f * table[*setting, seed][key] for f, setting, key in terms) for seed in self.experiment.seeds]
            for table in (self.whole, self.resampled)
        ]

    def terms(self, ours, theirs, key):
        """A contrast: what it is the sum of; nothing where a side was not measured."""
        seed = self.experiment.seeds[0]
        other = key
        if key[0] in MASKED and key not in self.whole[*theirs, seed]:
            other = ("intact", *key[1:])
        is_known = key in self.whole[*ours, seed] and other in self.whole[*theirs, seed]
        is_asked = key[1] in self.experiment.evaluation["measures"]
        return [(1, ours, key), (-1, theirs, other)] if is_known and is_asked else []


def height(x, y, first, last):
    """The mean height of straight lines through (x, y) between two places."""
    places = np.unique([first, *[each for each in x if first < each < last], last])
    return np.trapezoid(np.interp(places, x, y), places) / (last - first) if last > first else np.interp(first, x, y)


class Curves:
    """Every chain's learning curve, and on resamples of the validation images."""

    def __init__(self, experiment):
        self.experiment = experiment
        counts = next(iter(next(iter(experiment.chains.values())).validation.values()))
        self.images = counts.shape[1]
        weights = draw_weights(self.images, min(1000, experiment.evaluation["resamples"]))
        self.x, self.score, self.resampled = {}, {}, {}
        for key, chain in experiment.chains.items():
            epochs = sorted(chain.epochs, key=lambda epoch: epoch["steps"])
            self.score[key] = np.array([100 * epoch["score"] for epoch in epochs])
            seen, before = [], 0
            for epoch in epochs:
                seen.append((epoch["images"] - before) * chain.kept.get(epoch["iteration"], 100) / 100)
                before = epoch["images"]
            self.x[key] = {"steps": np.array([epoch["steps"] for epoch in epochs], float), "pixels": np.cumsum(seen)}
            matrices = [matrix for iteration in sorted(chain.validation) for matrix in chain.validation[iteration]]
            labelled = [index for index in range(len(experiment.classes)) if matrices[0][:, index].sum() > 0]
            self.resampled[key] = np.array(
                [[100 * average(overlaps(np.tensordot(w, m, 1))[labelled]) for m in matrices] for w in weights]
            )

    def window(self, ours, theirs, against):
        """From where curves part to where the first ends; None if nothing is left."""
        steps = [self.x[key]["steps"] for key in (ours, theirs)]
        pairs = zip(*steps, self.score[ours], self.score[theirs], strict=False)
        parted = 0
        for one, other, score, other_score in pairs:
            if (one, score) != (other, other_score):
                break
            parted += 1
        ends = [self.x[key][against] for key in (ours, theirs)]
        first, last = max(each[max(0, parted - 1)] for each in ends), min(each[-1] for each in ends)
        return (first, last) if last > first else None

    def areas(self, ours, theirs, against):
        """The difference of two mean heights, and on resamples; None if nothing is left to compare."""
        window = self.window(ours, theirs, against)
        if window is None:
            return None
        both = []
        for key in (ours, theirs):
            x = self.x[key][against]
            drawn = np.array([height(x, curve, *window) for curve in self.resampled[key]])
            both.append((height(x, self.score[key], *window), drawn))
        return both[0][0] - both[1][0], both[0][1] - both[1][1]

    def first_reaching(self, key, target):
        return next(place for place, score in enumerate(self.score[key]) if score >= target)

    def steps_to(self, share, key, other):
        """Steps of both to a share of the lower of the two final scores, and that score."""
        target = share * min(self.score[key][-1], self.score[other][-1])
        return *(self.x[each]["steps"][self.first_reaching(each, target)] for each in (key, other)), target


def contrasts(experiment, scored, curves):
    """Rows of contrasts.csv, by (arm, threshold, comparator, its threshold, protocol, measure, class)."""
    rows = {}
    for ours, theirs in experiment.pairs:
        for key in scored.whole[*ours, experiment.seeds[0]]:
            terms = scored.terms(ours, theirs, key)
            if not terms:
                continue
            protocol, measure, group = key
            family = _family(experiment, ours[0], theirs[0], (measure, protocol, group))
            better, margin = -1 if measure in LESS_IS_BETTER else 1, experiment.margin(measure)
            level = experiment.level if family == "primary" else 0.05
            row = summarise(*scored.combined(terms), scored.images, margin, level, better)
            if measure in LOST_SCORE:
                for name, images in (("start_difference", "intact"), ("level_difference", protocol)):
                    place = (images, LOST_SCORE[measure], group)
                    row[name] = scored.mean(ours, place) - scored.mean(theirs, place)
            rows[*ours, *theirs, *key] = row
        for measure, against in (("validation_area", "steps"), ("validation_area_pixels", "pixels")):
            found = [curves.areas((*ours, seed), (*theirs, seed), against) for seed in experiment.seeds]
            row = {"n": len(found), "is_same": True}
            if any(found):
                known = [each or (0.0, np.zeros(len(curves.resampled[*ours, experiment.seeds[0]]))) for each in found]
                differences, resampled = zip(*known, strict=True)
                row = summarise(differences, resampled, curves.images, experiment.margin(measure))
            rows[*ours, *theirs, "validation", measure, "all"] = row
        is_same = all(curves.window((*ours, s), (*theirs, s), "steps") is None for s in experiment.seeds)
        reached = [curves.steps_to(0.95, (*ours, seed), (*theirs, seed))[:2] for seed in experiment.seeds]
        differences = [one - other for one, other in reached]
        p_value = exact_wilcoxon(differences)
        rows[*ours, *theirs, "validation", "steps_to_95", "all"] = {
            "n": len(differences),
            "is_same": is_same,
            "difference": np.median(differences),
            "p_value": p_value if len(differences) > 1 else np.nan,
            "p_wilcoxon": p_value,
            "probability_better": np.mean([1 if each < 0 else 0.5 if each == 0 else 0 for each in differences]),
        }
    return judged(experiment, scored, rows)


def _family(experiment, arm, comparator, about):
    if arm != experiment.report["method"] or about not in (experiment.primary_place, *SECONDARY):
        return "exploratory"
    if comparator == experiment.evaluation["comparators"][0]:
        return "primary" if about == experiment.primary_place else "secondary"
    is_control = comparator in experiment.evaluation["controls"] and about == experiment.primary_place
    return "control" if is_control else "exploratory"


def judged(experiment, scored, rows):
    """Families, adjusted tests and decisions."""
    least = 100 * experiment.reference + experiment.margin("mean_iou")
    is_learnt = {each: scored.mean(each, ("intact", "mean_iou", "all")) > least for each in experiment.settings}
    families = {}
    for place, row in rows.items():
        arm, threshold, comparator, other, protocol, measure, group = place
        row["family"] = _family(experiment, arm, comparator, (measure, protocol, group))
        row["margin"] = experiment.margin(measure)
        row["level"] = experiment.level if row["family"] == "primary" else 0.05
        row["less_to_lose"] = bool(row.get("start_difference", np.nan) < -row["margin"])
        row["has_learnt"] = is_learnt[arm, threshold] and is_learnt[comparator, other]
        if row["family"] != "exploratory":
            families.setdefault((row["family"], comparator), []).append(row)
    for members in families.values():
        for column, adjusted in (("p_value", "p_holm"), ("p_equivalence", "p_equivalence_holm")):
            for row, value in zip(members, holm([row.get(column, np.nan) for row in members]), strict=True):
                row[adjusted] = value
        tests = max(1, sum(not np.isnan(row.get("p_value", np.nan)) for row in members))
        for row in members:
            row["tests"] = tests
    for place, row in rows.items():
        row["decision"] = decision_of(place[5], row)
        row["seeds_needed"] = np.nan
        if row["decision"] == "undecided":
            is_held_back = place[5] in LOST_SCORE and row["p_holm"] < row["level"] and row["n"] >= 3
            row["seeds_needed"] = np.inf if is_held_back else seeds_for(row, row["level"] / row["tests"])
    return rows


def decision_of(measure, row):
    """The word of a contrast."""
    difference = row.get("difference", np.nan)
    if not row["has_learnt"]:
        return "not_learnt"
    if row["is_same"]:
        return "not_comparable"
    spread = np.hypot(row.get("seed_sd", np.nan), row.get("image_sd", np.nan))
    if np.isnan(difference) or spread < 1e-4 * abs(difference):
        return "undefined"
    if row["family"] == "exploratory":
        return ""
    if row["n"] < 3:
        return "undecided"
    if row["p_equivalence_holm"] < row["level"]:
        return "equivalent"
    if not row["p_holm"] < row["level"]:
        return "undecided"
    is_better = (difference > 0) != (measure in LESS_IS_BETTER)
    if measure in LOST_SCORE and (row["level_difference"] < 0 if is_better else row["level_difference"] > 0):
        return "undecided"
    return "supported" if is_better else "refuted"


def interactions(experiment, scored, curves):
    """Rows of interactions.csv, by (measure, protocol, class, threshold, other threshold)."""
    method, primary = experiment.report["method"], experiment.evaluation["comparators"][0]
    main = [pair for pair in experiment.pairs if (pair[0][0], pair[1][0]) == (method, primary)]
    rows = {}
    for (ours, theirs), (second, against) in combinations(main, 2):
        for measure, protocol, group in (experiment.primary_place, *SECONDARY):
            if protocol == "validation":
                known = [
                    (
                        curves.areas((*ours, s), (*theirs, s), "steps"),
                        curves.areas((*second, s), (*against, s), "steps"),
                    )
                    for s in experiment.seeds
                ]
                if not all(one and other for one, other in known):
                    continue
                found = [[one[part] - other[part] for one, other in known] for part in (0, 1)]
                images = curves.images
            else:
                key = (protocol, measure, group)
                less = [(-factor, *rest) for factor, *rest in scored.terms(second, against, key)]
                if not (terms := [*scored.terms(ours, theirs, key), *less]):
                    continue
                found, images = scored.combined(terms), scored.images
            family = "primary" if (measure, protocol, group) == experiment.primary_place else "secondary"
            row = summarise(*found, images, experiment.margin(measure)) | {"family": family}
            rows[measure, protocol, group, ours[1], second[1]] = row
    for family in ("primary", "secondary"):
        members = [row for row in rows.values() if row["family"] == family]
        for row, value in zip(members, holm([row["p_value"] for row in members]), strict=True):
            row["p_holm"] = value
    return rows


def convergence(experiment, curves):
    """Rows of convergence.csv, by (arm, threshold, seed, level)."""
    primary = experiment.evaluation["comparators"][0]
    at = next(threshold for arm, threshold in experiment.settings if arm == primary)
    rows = {}
    for key, chain in experiment.chains.items():
        other = (primary, at, key[2])
        x = curves.x[key]["steps"]
        epochs = sorted(chain.epochs, key=lambda epoch: epoch["steps"])
        for level in (90, 95, 99):
            steps, theirs, target = curves.steps_to(level / 100, key, other)
            epoch = epochs[curves.first_reaching(key, target)]
            rows[*key, level] = {
                "target": target / 100,
                "steps": steps,
                "images": epoch["images"],
                "seconds": epoch["seconds"],
                "comparator_steps": theirs,
                "area": height(x, curves.score[key], x[0], x[-1]) / 100,
                "final": curves.score[key][-1] / 100,
            }
    return rows


def relative_areas(experiment, scored):
    """Rows of racu.csv, by arm."""
    primary = experiment.evaluation["comparators"][0]
    removed = {}
    for (arm, threshold, _), chain in experiment.chains.items():
        share = 100 - chain.kept[max(chain.kept)] if chain.kept else 0
        if share > 0:
            removed[arm, threshold] = share
    key, rows = ("intact", "mean_iou", "all"), {}
    for arm in dict.fromkeys(arm for arm, _ in experiment.settings if arm != "random"):
        at = [t for name, t in experiment.settings if name == arm and (name, t) in removed]
        at = sorted((t for t in at if removed.get(("random", t)) == removed[arm, t]), key=lambda t: removed[arm, t])
        if len(at) < 2:
            continue
        x = [removed[arm, t] for t in at]
        weights = [height(x, unit, x[0], x[-1]) for unit in np.eye(len(x))]
        terms = [(s * w, (n, t), key) for n, s in ((arm, 1), ("random", -1)) for w, t in zip(weights, at, strict=True)]
        row = summarise(*scored.combined(terms), scored.images, experiment.margin("mean_iou"))
        ratios = []
        for seed in experiment.seeds:
            if (primary, "100") not in experiment.settings or (primary, "100") in removed:
                continue
            start = scored.whole[primary, "100", seed][key]
            ours, chance = ([start, *(scored.whole[n, t, seed][key] for t in at)] for n in (arm, "random"))
            fall = height([0, *x], np.array(chance) - chance[-1], 0, x[-1])
            gain = height([0, *x], np.array(ours) - np.array(chance), 0, x[-1])
            ratios.append(np.clip(gain / fall, -1, 1) if fall > experiment.margin("mean_iou") else np.nan)
        rows[arm] = row | {"thresholds": " ".join(at), "racu": np.mean(ratios) if ratios else np.nan}
    return rows


def summary_word(decisions, interaction):
    """One word for a hypothesis from those of its thresholds; `interaction` is the smallest adjusted p, or NaN."""
    words = set(decisions)
    if len(words) < 2:
        return next(iter(words), "not_measured")
    if not words & {"supported", "refuted", "equivalent"}:
        return "undecided" if "undecided" in words else decisions[0]
    return "depends" if words & {"supported", "refuted"} and interaction < 0.05 else "partly"


def ladder(experiment):
    """(threshold, step, arm, comparator) from the baseline to the method, and its controls."""
    method, (primary, *others) = experiment.report["method"], experiment.evaluation["comparators"]
    asked = [("masking", method, primary)]
    if others:
        asked = [("more training", primary, others[0]), *asked, ("both", method, others[0])]
    asked += [("content of the mask", method, control) for control in experiment.evaluation["controls"]]
    pairs = {(ours, theirs[0]) for ours, theirs in experiment.pairs}
    steps = []
    for threshold in [at for arm, at in experiment.settings if arm == method]:
        for name, arm, comparator in asked:
            own = [at for each, at in experiment.settings if each == arm]
            at = own[0] if len(own) == 1 else threshold
            if ((arm, at), comparator) in pairs:
                steps.append((threshold, name, arm, comparator))
    return steps


def caveats(experiment, scored, curves, rows):
    """What must be warned of: {first words: what the sentence names}, and the hypotheses it stands under."""
    method, primary = experiment.report["method"], experiment.evaluation["comparators"][0]
    key, margin, seeds = ("intact", "mean_iou", "all"), experiment.margin("mean_iou"), experiment.seeds
    found = {}
    if len(seeds) < 6:
        name = "Few seeds" if len(seeds) > 2 else f"{len(seeds)} seed"
        found[name] = [f"{2 / 2 ** len(seeds):.4g}"] if len(seeds) > 2 else []
    least = experiment.report["least_baseline_iou"]
    base = np.mean([scored.mean(each, key) for each in experiment.settings if each[0] == primary])
    if least is not None and base < 100 * least:
        found["Weak baseline"] = [f"{base:.1f} %", f"{100 * least:.1f} %"]
    poor = [each for each in experiment.settings if scored.mean(each, key) <= 100 * experiment.reference + margin]
    if poor:
        found["Nothing learnt"] = [f"({scored.mean(each, key):.1f} %)" for each in poor]
    collapsed = []
    for each, chain in experiment.chains.items():
        hits = np.diagonal(chain.confusion["intact"].sum(axis=0))
        if (hits > 0).sum() == 1:
            collapsed.append(each)
    if collapsed:
        found["Collapsed"] = [f"{arm} at top {threshold} %" for arm, threshold, _ in collapsed]
    slopes = []
    for each, score in curves.score.items():
        last = score[-max(2, len(score) // 5) :]
        if each[0] == primary:
            slopes.append(stats.linregress(range(len(last)), last).slope * (len(last) - 1))
    if np.mean(slopes) > margin:
        found["Still improving"] = [f"{np.mean(slopes):.1f} points"]
    steps = {
        arm: {curves.x[each]["steps"][-1] for each in experiment.chains if each[0] == arm} for arm in (method, primary)
    }
    under = {"H1": [], "H1b": [], "H2": [], "H3": []}
    if steps[method] != steps[primary]:
        for hypothesis in ("H1", "H1b"):
            under[hypothesis].append("Unequal compute")
    for hypothesis, place in (("H1b", SECONDARY[0]), ("H3", SECONDARY[2])):
        if any(
            row["less_to_lose"]
            for (arm, _, comparator, _, protocol, measure, group), row in rows.items()
            if (arm, comparator, (measure, protocol, group)) == (method, primary, place)
        ):
            under[hypothesis].append("Less to lose")
    return found, under
