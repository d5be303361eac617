import h5py
import numpy as np
import pandas as pd
import pytest

from spatial_reduction.report.curves import (
    plot_cost,
    plot_iterations,
    plot_kept_pixels,
    plot_learning_curves,
    plot_thresholds,
)
from spatial_reduction.report.examples_figure import plot_examples
from spatial_reduction.report.figure_style import arm_styles, read_metrics
from spatial_reduction.report.verdict_figures import (
    measure_losses,
    plot_contrasts,
    plot_heat_map,
    plot_reliability,
    plot_robustness,
)
from spatial_reduction.runtime.files import create_hdf5

ARMS = ["single_pass", "equal_compute", "saliency", "random"]
DESIGNS = {
    "usual": {"single_pass": ["100"], "equal_compute": ["100"], "saliency": ["90", "70"], "random": ["90", "70"]},
    "one of the thresholds keeps all": {"single_pass": ["100"], "saliency": ["100", "90"]},
    "nothing is reduced": {"single_pass": ["100"], "equal_compute": ["100"]},
    "thresholds differ between arms": {"saliency": ["92.5"], "random": ["90", "70", "50", "30"]},
}


@pytest.fixture(params=DESIGNS)
def tables(request, tmp_path):
    """metrics.csv, history.csv and kept_pixels.csv of an experiment of two seeds and up to three iterations."""
    rng = np.random.default_rng(0)
    metrics, history, kept = [], [], []
    for arm, thresholds in DESIGNS[request.param].items():
        iterations = 1 if arm in ("single_pass", "equal_compute") else 3
        for threshold in thresholds:
            for seed in (1, 2):
                for iteration in range(1, iterations + 1):
                    place = {"arm": arm, "threshold": threshold, "seed": seed, "iteration": iteration}
                    score = {"split": "test", "protocol": "intact", "measure": "mean_iou", "class": "all"}
                    metrics.append(place | score | {"value": rng.random()})
                    counts = {"cumulative_steps": 10 * iteration, "cumulative_seconds": 2.0 * iteration}
                    history.append(place | counts | {"validation_mean_iou": rng.random()})
                    for measure, group in (("kept_share", "all"), ("recall", "pet")) if iteration > 1 else ():
                        kept.append(place | {"measure": measure, "class": group, "value": 100 / iteration})
    columns = ["arm", "threshold", "seed", "iteration", "measure", "class", "value"]
    pd.DataFrame(metrics).to_csv(tmp_path / "metrics.csv", index=False)
    pd.DataFrame(history).to_csv(tmp_path / "history.csv", index=False)
    pd.DataFrame(kept, columns=columns).to_csv(tmp_path / "kept_pixels.csv", index=False)
    return tmp_path


def test_every_figure_can_be_drawn_of_every_design_twice_with_the_same_bytes(tables):
    scores = {"metrics": tables / "metrics.csv", "measure": "mean_iou", "class_group": "all", "arms": ARMS}
    for name in ("a", "b"):
        outputs = [[tables / f"{figure}_{name}.{kind}" for kind in ("png", "pdf")] for figure in range(5)]
        plot_thresholds(**scores, outputs=outputs[0])
        plot_iterations(**scores, outputs=outputs[1])
        plot_cost(**scores, history=tables / "history.csv", outputs=outputs[2])
        plot_learning_curves(tables / "history.csv", ARMS, outputs[3])
        plot_kept_pixels(tables / "kept_pixels.csv", ARMS, outputs[4])
    for path in tables.glob("*_a.*"):
        assert path.read_bytes() == path.with_name(path.name.replace("_a.", "_b.")).read_bytes()
        assert path.stat().st_size > 5000


@pytest.mark.parametrize(("measure", "scale"), [("mean_iou", 100), ("seg", 100), ("variation_of_information", 1)])
def test_scores_are_read_in_their_printed_unit(tmp_path, measure, scale):
    rows = [
        ("a", "90", 1, 2, "test", "intact", measure, "all", 0.25),
        ("a", "90", 1, 2, "test", "self_masked", measure, "all", 0.5),
    ]
    columns = ["arm", "threshold", "seed", "iteration", "split", "protocol", "measure", "class", "value"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "metrics.csv", index=False)
    assert read_metrics(tmp_path / "metrics.csv", measure, "all")["value"].tolist() == [0.25 * scale]


def test_objects_are_drawn_in_their_unit(tmp_path):
    columns = ["arm", "threshold", "seed", "iteration", "split", "protocol", "measure", "class", "value"]
    rows = [("saliency", at, 1, 3, "test", "intact", "vi_split", "all", 0.5) for at in ("90", "70")]
    rows.append(("single_pass", "100", 1, 1, "test", "intact", "vi_split", "all", 0.75))
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "metrics.csv", index=False)
    scores = {"metrics": tmp_path / "metrics.csv", "measure": "vi_split", "class_group": "all"}
    plot_iterations(**scores, arms=ARMS, outputs=[tmp_path / "a.svg"])
    plot_thresholds(**scores, arms=ARMS, outputs=[tmp_path / "b.svg"])
    plot_heat_map(**scores, arm="saliency", outputs=[tmp_path / "c.svg"])
    texts = [(tmp_path / f"{name}.svg").read_text() for name in "abc"]
    assert all("(bits," in text and "better)" in text for text in texts)
    assert ["after the last iteration alone" in text for text in texts] == [True, False, True]


def test_an_arm_looks_the_same_whatever_other_arms_a_figure_shows():
    styles = arm_styles(ARMS)
    assert len({(style["color"], style["marker"]) for style in styles.values()}) == len(ARMS)
    assert arm_styles([*ARMS, "another"])["random"] == styles["random"]


@pytest.fixture
def changed_images(tmp_path):
    """metrics.csv of two seeds; the last iteration loses 10, 20 and 30 points to noise, 40 to another background."""
    keys = ["arm", "threshold", "seed", "iteration", "split", "protocol", "measure", "class", "value"]
    scores = {"intact": 0.8, "noise_1": 0.7, "noise_2": 0.6, "noise_3": 0.5, "background_swapped": 0.4}
    rows = [
        ("saliency", "90", seed, iteration, "test", protocol, *measure, value - 0.1 * (iteration == 1))
        for seed in (1, 2)
        for iteration in (1, 2)
        for protocol, value in scores.items()
        for measure in (("mean_iou", "all"), ("binary_iou", "foreground"))
    ]
    pd.DataFrame(rows, columns=keys).to_csv(tmp_path / "metrics.csv", index=False)
    return tmp_path / "metrics.csv"


def test_losses_are_means_over_severities_after_the_last_iteration(changed_images):
    losses = measure_losses(pd.read_csv(changed_images, dtype={"threshold": str}))
    assert list(losses.columns) == ["arm", "threshold", "seed", "noise", "background_swapped"]
    assert losses[["noise", "background_swapped"]].to_numpy() == pytest.approx(np.array([[20, 40], [20, 40]]))


@pytest.mark.parametrize("decisions", [["supported", "undecided"], ["refuted", "equivalent"], []])
def test_contrasts_of_every_decision_can_be_drawn(tmp_path, decisions):
    columns = ["arm", "threshold", "comparator", "protocol", "measure", "class", "n", "difference", "ci_low", "ci_high"]
    about = [("mean_iou", "intact", "all"), ("validation_area", "validation", "all")]
    rows = [
        ("saliency", threshold, "equal_compute", protocol, measure, group, 2, 1.0, -1.0, 3.0, decision)
        for threshold, decision in zip(("100", "70"), decisions, strict=False)
        for measure, protocol, group in about
    ]
    pd.DataFrame(rows, columns=[*columns, "decision"]).to_csv(tmp_path / "contrasts.csv", index=False)
    plot_contrasts(tmp_path / "contrasts.csv", "equal_compute", "mean_iou", "all", 0.5, [tmp_path / "a.png"])
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("is_evaluated", [True, False])
def test_the_figures_of_robustness_and_calibration_tell_when_there_is_nothing(changed_images, tmp_path, is_evaluated):
    if not is_evaluated:
        table = pd.read_csv(changed_images)
        table[table["protocol"] == "intact"].to_csv(changed_images, index=False)
    with create_hdf5(tmp_path / "counts.h5", "counts") as file:
        file.attrs["classes"] = ["background", "pet"]
        file["intact/test/confusion"] = np.ones((1, 3, 2, 2))
        if is_evaluated:
            file["intact/test/reliability"] = np.ones((1, 3, 15, 3))
    plot_robustness(changed_images, ARMS, [tmp_path / "robustness.png"])
    plot_reliability([tmp_path / "counts.h5"], [["saliency", "90", "1"]], ARMS, [tmp_path / "reliability.png"])
    plot_heat_map(changed_images, "mean_iou", "all", "saliency", [tmp_path / "heat.png"])
    sizes = [(tmp_path / f"{name}.png").stat().st_size > 9000 for name in ("robustness", "reliability")]
    assert sizes == [is_evaluated] * 2


@pytest.mark.parametrize(("channels", "iterations"), [(3, 3), (1, 2), (3, 1)])
def test_the_picture_grid_shows_colour_and_grey_and_a_single_pass(tmp_path, channels, iterations):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 8, 8, channels), dtype=np.uint8)
    labels = rng.integers(0, 3, (2, 8, 8), dtype=np.uint8)
    labels[0, 0] = 255  # ignored
    with create_hdf5(tmp_path / "examples.h5", "examples") as file:
        file.attrs["classes"] = ["background", "pet", "border"]
        file["images"], file["labels"] = images, labels
        file["predictions"] = np.zeros((iterations, 2, 8, 8), np.uint8)
        file["reduced"] = np.stack([images] * iterations)
        file["saliency"] = np.zeros((iterations - 1, 2, 8, 8), np.float32)
    plot_examples(tmp_path / "examples.h5", "saliency, top 90 %", [tmp_path / "grid.png"])
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")
    assert h5py.is_hdf5(tmp_path / "examples.h5")
