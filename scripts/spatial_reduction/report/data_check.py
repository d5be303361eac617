"""One page about the data, made before anything is trained: are they read rightly, and how long will a run take?

Its findings are told in the terminal as well.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import yaml
from PIL import Image

from spatial_reduction.data.inspection import Inspection, guess_roles, inspect_data, kind_counts, size_counts
from spatial_reduction.data.splits import SPLITS
from spatial_reduction.evaluation.overlays import class_colours
from spatial_reduction.report.label_outlines import IGNORED_COLOUR, draw_labels
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import written_whole
from spatial_reduction.runtime.log import say
from spatial_reduction.runtime.plain_text import counted

LISTED = 50  # pairs that are left out, and groups of twins, that are named
# Cost of the saliency of an image in forward passes of the network (docs/results.md, sources of saliency); a source of
# the user's own counts as one.
PASSES = {
    "probability": 1.1,
    "entropy": 0.9,
    "grad_cam": 1.3,
    "iterative_grad_cam": 8.4,
    "iterative_grad_cam_as_published": 5.6,
    "integrated_gradients": 76.9,
    "superpixel": 5.5,
    "active": 0.5,
    "oracle": 0.1,
    "random": 0.0,
    "random_blocks": 0.0,
    "centre": 0.0,
}
SEVERITIES = {"noise": 3, "blur": 3, "brightness": 3, "contrast": 3, "jpeg": 3, "occlusion": 3}  # views of a protocol


class Finding(NamedTuple):
    """Something to correct (`is_wrong`: the run would stop, or measure nonsense) or to look at."""

    is_wrong: bool
    text: str


class Work(NamedTuple):
    """Seconds that jobs of one kind take on one core or GPU.

    Attributes:
        what: kind of job.
        jobs: how many.
        each: seconds of the longest of them.
        total: seconds of all.
    """

    what: str
    jobs: int
    each: float
    total: float


def write_data_check(
    timings: str | Path,
    config: Mapping[str, Any],
    design: Mapping[str, Any],
    template: str | Path,
    page: str | Path,
    summary: str | Path,
    threads: int,
) -> None:
    """Look at all pairs below `dataset.root`; write the page, and for `tell_data_check` its findings and its estimate.

    Args:
        timings: what `time_networks` wrote.
        config: the sections dataset, training, evaluation and report of the configuration.
        design: `arms` (name, network, batch_size, epochs, iterations, source, thresholds, is_first), `seeds` and `jobs`
            {rule: number}.
        template: of the page.

    Raises:
        InputError: the folder is not of the layout that the configuration names.
    """
    found = inspect_data(config["dataset"]["root"], config["dataset"], threads)
    measured = json.loads(Path(timings).read_text(encoding="utf-8"))
    counts = {split: sum(pair.split == split for pair in found.usable) for split in SPLITS}
    work = estimate_work(measured, design, config["evaluation"], counts)
    total, longest = sum(row.total for row in work), longest_chain(measured, design, counts)
    lanes = 1 if not measured["device"].startswith("cpu") else measured["cores"]
    wall, findings = max(total / lanes, longest), list_findings(found, config)
    classes = [entry["name"] for entry in config["dataset"]["classes"]]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["duration"] = format_duration
    text = environment.from_string(Path(template).read_text(encoding="utf-8")).render(
        config=config,
        findings=findings,
        pairs=len(found.pairs),
        usable=len(found.usable),
        counts=counts,
        sheet=contact_sheet(found, config),
        legend=list_legend(found, config),
        values=value_table(found, config["dataset"]),
        shares={split: found.class_shares(split).tolist() for split in SPLITS if counts[split]},
        classes=classes,
        objects=[pair.objects for pair in found.usable],
        sizes=size_counts(found.pairs),
        kinds=[kind_counts(found.pairs, which) for which in (0, 1)],
        twins=twin_lines(found)[:LISTED],
        left_out=group_reasons(found),
        listed=LISTED,
        jobs=design["jobs"],
        work=work,
        total=total,
        wall=wall,
        lanes=lanes,
        measured=measured,
        suggestion=suggest_classes(found),
        dataset=yaml.safe_dump(dict(config["dataset"]), sort_keys=False, allow_unicode=True),
    )
    with written_whole(page) as partial:
        partial.write_text(text, encoding="utf-8")
    told = {
        "pairs": f"{len(found.usable)} of {len(found.pairs)} pairs can be used",
        "findings": [finding._asdict() for finding in findings],
        "estimate": f"a run of {sum(design['jobs'].values())} jobs takes about {format_duration(wall)} on {lanes} "
        f"{'core' if lanes == 1 else 'cores'} of this machine, give or take half"
        if found.usable
        else "",
    }
    with written_whole(summary) as partial:
        partial.write_text(json.dumps(told), encoding="utf-8")


def tell_data_check(summary: str | Path, page: str | Path) -> None:
    """Say what `write_data_check` found and estimated.

    Raises:
        InputError: something is wrong, so that a run would stop or measure nonsense.
    """
    told = json.loads(Path(summary).read_text(encoding="utf-8"))
    findings = [Finding(**each) for each in told["findings"]]
    lines = [f"{'correct' if finding.is_wrong else 'look at'} this: {finding.text}" for finding in findings]
    say("\n".join(filter(None, [f"{page}: {told['pairs']}; open it in a browser", *lines, told["estimate"]])))
    wrong = sum(finding.is_wrong for finding in findings)
    if wrong:
        raise InputError(f"{page}: {counted(wrong, 'finding')} to correct before a run")


def list_findings(found: Inspection, config: Mapping[str, Any]) -> list[Finding]:
    """Return what is wrong or worth a look, what is wrong first."""
    dataset, foreground = config["dataset"], config["evaluation"]["foreground"]
    findings = []
    errors = [pair for pair in found.pairs if pair.error]
    is_left = {split: any(pair.split == split for pair in found.usable) for split in SPLITS}
    stops = dataset["on_error"] != "skip" or not all(is_left.values())
    if errors:
        empty = [split for split in SPLITS if dataset["on_error"] == "skip" and not is_left[split]]
        because = f"no picture is left to {' and to '.join(empty)}" if empty else "dataset.on_error"
        kept = f"the run would stop ({because})" if stops else "they would be left out (dataset.on_error)"
        findings.append(Finding(stops, f"{len(errors)} of {len(found.pairs)} pairs cannot be used: {kept}"))
    if found.split_error:
        findings.append(Finding(True, found.split_error))
    findings += _mapping_findings(found, dataset, foreground, stops)
    for split in SPLITS:
        shares = found.class_shares(split)
        for entry, share in zip(dataset["classes"], shares, strict=False):
            low, high = entry.get("share", (0, 100))
            if found.usable and share == 0:
                is_needed = split == "train" and ("share" not in entry or low > 0)  # as `prepare_dataset` has it
                findings.append(Finding(is_needed, f"no {split} picture has the class {entry['name']}"))
            elif split == "train" and not low <= share <= high:
                text = f"{entry['name']} covers {share:.1f} % of the training pixels, not {low} to {high} %"
                findings.append(Finding(True, text))
    trained = sum(pair.split == "train" for pair in found.usable)
    if 0 < trained < config["training"]["batch_size"]:
        text = f"training.batch_size: {config['training']['batch_size']} is more than the {trained} training images"
        findings.append(Finding(True, text))
    parted = [line for line, is_parted in twin_lines(found) if is_parted]
    if parted:
        groups = counted(len(parted), "group")
        text = f"pictures that are alike stand in several splits ({groups}): a test of what was trained on"
        findings.append(Finding(False, text))
    sizes = size_counts(found.pairs)
    if len(sizes) > 1 or any(len(set(size.split(" x "))) > 1 for size, _ in sizes):
        side = dataset["image_size"]
        findings.append(
            Finding(False, f"pictures of {len(sizes)} sizes, or not square, become {side} x {side}: distorted")
        )
    return sorted(findings, key=lambda finding: not finding.is_wrong)


def _mapping_findings(
    found: Inspection, dataset: Mapping[str, Any], foreground: Sequence[str], stops: bool
) -> list[Finding]:
    """Compare what the label values look like with what they are said to be."""
    values, named = found.values, _class_names(dataset)
    findings = []
    unknown = [value for value in values if value not in named]
    if unknown:
        findings.append(
            Finding(stops, f"label values {unknown[:10]} belong to no class (dataset.classes, ignored_labels)")
        )
    for value, role in guess_roles(values).items():
        name = named.get(value)
        if name is None:
            continue
        if role == "background" and name in foreground:
            findings.append(
                Finding(False, f"{value} looks like the background, but it is the class {name}: is it inverted?")
            )
        if role == "void" and name != "ignored":
            findings.append(
                Finding(False, f"{value} looks like void, but it is the class {name}: dataset.ignored_labels?")
            )
    return findings


def _class_names(dataset: Mapping[str, Any]) -> dict[int, str]:
    named = {value: entry["name"] for entry in dataset["classes"] for value in entry["labels"]}
    return named | dict.fromkeys(dataset["ignored_labels"], "ignored")


def value_table(found: Inspection, dataset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return, per raw label value, its share of pixels, the pictures that hold it, its class and what it looks like."""
    values, named = found.values, _class_names(dataset)
    roles, pixels = guess_roles(values), sum(value.pixels for value in values.values())
    return [
        {
            "value": value,
            "share": 100 * counted.pixels / pixels,
            "pictures": counted.pictures,
            "class": named.get(value, ""),
            "role": roles[value],
        }
        for value, counted in list(values.items())[:LISTED]
    ]


def suggest_classes(found: Inspection) -> str:
    """Return lines for the configuration that map each value as it looks; "" for data whose labels hold objects."""
    roles = guess_roles(found.values)
    kept = sorted(roles, key=lambda value: (roles[value] != "background", value))[:LISTED]
    names = {value: roles[value] if roles[value] != "object" else f"object_{value}" for value in kept}
    lines = [f"    - {{name: {names[value]}, labels: [{value}]}}" for value in kept if roles[value] != "void"]
    void = ", ".join(str(value) for value in kept if roles[value] == "void")
    return "\n".join(["dataset:", "  classes:", *lines, f"  ignored_labels: [{void}]"]) if lines else ""


def group_reasons(found: Inspection) -> list[tuple[str, list[str]]]:
    """Return (reason, names of the pairs that cannot be used for it), the most frequent first."""
    reasons: dict[str, list[str]] = {}
    for pair in found.pairs:
        if pair.error:
            path, _, reason = pair.error.partition(": ")
            reasons.setdefault(reason or path, []).append(Path(path).name)
    return sorted(reasons.items(), key=lambda entry: -len(entry[1]))


def twin_lines(found: Inspection) -> list[tuple[str, bool]]:
    """Return, per group of images that are alike, their names with their splits, and whether these differ."""
    split_of = {pair.name: pair.split for pair in found.pairs}
    return [
        (
            ", ".join(f"{name} ({split_of[name] or 'no split'})" for name in group),
            len({split_of[name] for name in group}) > 1,
        )
        for group in found.twins
    ]


def contact_sheet(found: Inspection, config: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return name, split and embedded picture of some pairs, spread over the whole, as the network will see them."""
    classes = [entry["name"] for entry in config["dataset"]["classes"]]
    outlined = [len(classes), *(classes.index(name) for name in config["evaluation"]["foreground"])]
    return [
        {
            "name": pair.name,
            "split": "cannot be used" if pair.error else pair.split or "no split",
            "picture": _embedded(draw_labels(pair.image, pair.labels, outlined)),
        }
        for pair in found.pairs
        if pair.image is not None and pair.labels is not None
    ]


def list_legend(found: Inspection, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return name and colour of what the contact sheet outlines."""
    classes = [entry["name"] for entry in config["dataset"]["classes"]]
    colours = class_colours(len(classes) + 1)
    legend = [(name, _hex(colours[classes.index(name)])) for name in config["evaluation"]["foreground"]]
    if any(pair.labels is not None and (pair.labels == len(classes)).any() for pair in found.pairs):
        legend.append(("values of no class", _hex(colours[len(classes)])))
    return [*legend, ("ignored", _hex(np.array(IGNORED_COLOUR)))] if config["dataset"]["ignored_labels"] else legend


def _embedded(pixels: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _hex(colour: np.ndarray) -> str:
    return "#" + bytes(colour.tolist()).hex()


def estimate_work(
    measured: Mapping[str, Any], design: Mapping[str, Any], evaluation: Mapping[str, Any], counts: Mapping[str, int]
) -> list[Work]:
    """Estimate the seconds of all jobs from a timed step and a timed prediction of each network.

    Args:
        measured: what `time_networks` wrote.
        design: see `write_data_check`.
        evaluation: the section of the configuration.
        counts: images of each split.
    """
    start, seeds = measured["start"], design["seeds"]
    trainings, masks, evaluations = [], [], []
    for arm in design["arms"]:
        network = measured["networks"][arm["network"]]
        chains = seeds * arm["thresholds"]
        training = start + _training_seconds(arm, network, counts)
        trainings += [training] * (chains * (arm["iterations"] - 1) + (seeds if arm["is_first"] else 0))
        mask = start + counts["train"] * network["image"] * PASSES.get(arm["source"], 1.0)
        masks += [mask] * (chains * (arm["iterations"] - 1))
        views = sum(SEVERITIES.get(name, 1) for name in evaluation["protocols"] if name != "intact") * counts["test"]
        views += arm["iterations"] * sum(counts[split] for split in evaluation["splits"])
        passes = evaluation["test_time_augmentation"] * network["image"]
        evaluations += [start + views * passes] * chains
    timed = {"training": trainings, "saliency": masks, "evaluation": evaluations}
    others = sum(design["jobs"].values()) - sum(map(len, timed.values()))
    rows = [Work(what, len(each), max(each), sum(each)) for what, each in timed.items() if each]
    return [*rows, Work("all other jobs", others, start, others * start)]


def _training_seconds(arm: Mapping[str, Any], network: Mapping[str, float], counts: Mapping[str, int]) -> float:
    steps = -(-counts["train"] // arm["batch_size"])
    return arm["epochs"] * (steps * network["step"] + counts["validation"] * network["image"])


def longest_chain(measured: Mapping[str, Any], design: Mapping[str, Any], counts: Mapping[str, int]) -> float:
    """Return the seconds of the longest run of jobs that wait for each other: more cores do not shorten it."""
    return max(
        arm["iterations"]
        * (2 * measured["start"] + _training_seconds(arm, measured["networks"][arm["network"]], counts))
        for arm in design["arms"]
    )


def format_duration(seconds: float) -> str:
    """Return seconds as a reader takes them in: "45 s", "12 min", "3.5 h", "4 days"."""
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (129600, 3600, "h")):
        if seconds < limit:
            digits = 1 if unit == 3600 and seconds < 36000 else 0
            return f"{seconds / unit:.{digits}f} {name}"
    return f"{seconds / 86400:.0f} days"
