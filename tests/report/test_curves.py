import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from spatial_reduction.report.curves import (
    plot_cost,
    plot_iterations,
    plot_kept_pixels,
    plot_learning_curves,
    plot_thresholds,
)
from spatial_reduction.report.examples_figure import plot_examples
from spatial_reduction.report.figure_style import read_metrics
from spatial_reduction.report.verdict_figures import (
    measure_losses,
    plot_contrasts,
    plot_heat_map,
    plot_reliability,
    plot_robustness,
)
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import create_hdf5

ARMS = {"single_pass": "baseline", "equal_compute": "baseline", "saliency": "method", "random": "control"}
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
    write_references(tmp_path)
    return tmp_path


def write_references(folder, **scores):
    """Write references.csv: the mean IoU of the position prior on each of the splits."""
    rows = [("position_prior", split, "mean_iou", "all", value) for split, value in scores.items()]
    rows.append(("constant_background", "test", "mean_iou", "all", 0.9))  # another predictor: not drawn
    pd.DataFrame(rows, columns=["predictor", "split", "measure", "class", "value"]).to_csv(
        folder / "references.csv", index=False
    )
    return folder / "references.csv"


def test_every_figure_can_be_drawn_of_every_design_twice_with_the_same_bytes(tables):
    scores = {"metrics": tables / "metrics.csv", "measure": "mean_iou", "class_group": "all", "arms": ARMS}
    known = tables / "references.csv"
    for name in ("a", "b"):
        outputs = [[tables / f"{figure}_{name}.{kind}" for kind in ("png", "pdf")] for figure in range(5)]
        plot_thresholds(**scores, references=known, outputs=outputs[0])
        plot_iterations(**scores, references=known, outputs=outputs[1])
        plot_cost(**scores, history=tables / "history.csv", outputs=outputs[2])
        plot_learning_curves(tables / "history.csv", known, ARMS, outputs[3])
        plot_kept_pixels(tables / "kept_pixels.csv", ARMS, outputs[4])
    for path in tables.glob("*_a.*"):
        assert path.read_bytes() == path.with_name(path.name.replace("_a.", "_b.")).read_bytes()


def test_thresholds_stand_to_scale_with_the_mean_and_interval_of_their_seeds(tmp_path):
    columns = ["arm", "threshold", "seed", "iteration", "split", "protocol", "measure", "class", "value"]
    rows = [
        ("saliency", threshold, seed, 2, "test", "intact", "mean_iou", "all", value)
        for threshold, values in {"90": (0.4, 0.5, 0.6), "70": (0.3, 0.3, 0.3)}.items()
        for seed, value in enumerate(values)
    ]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "metrics.csv", index=False)
    known = write_references(tmp_path)
    figure = plot_thresholds(tmp_path / "metrics.csv", known, "mean_iou", "all", ARMS, [tmp_path / "a.png"])
    (axes,) = figure.axes
    drawn = [(bars[0].get_xdata()[0], bars[0].get_ydata()[0], bars[2][0].get_segments()[0]) for bars in axes.containers]
    assert [(x, y) for x, y, _ in drawn] == [(90, pytest.approx(50)), (70, pytest.approx(30))]
    half = stats.t.ppf(0.975, 2) * 10 / np.sqrt(3)
    assert drawn[0][2][:, 1] == pytest.approx([50 - half, 50 + half])
    assert [line for line in axes.lines if len(line.get_xdata()) > 1] == []  # no line joins two points
    assert axes.get_xlim()[0] > 90 > 70 > axes.get_xlim()[1]


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
    known = write_references(tmp_path, test=0.3)
    plot_iterations(**scores, references=known, arms=ARMS, outputs=[tmp_path / "a.svg"])
    plot_thresholds(**scores, references=known, arms=ARMS, outputs=[tmp_path / "b.svg"])
    plot_heat_map(**scores, arm="saliency", outputs=[tmp_path / "c.svg"])
    texts = [(tmp_path / f"{name}.svg").read_text() for name in "abc"]
    assert all("(bits," in text and "better)" in text for text in texts)
    assert ["after the last iteration alone" in text for text in texts] == [True, False, True]
    assert not any("position prior" in text for text in texts)  # it finds no objects


def test_the_position_prior_is_a_line_in_every_panel(tables):
    known = write_references(tables, test=0.31, validation=0.27)
    scores = {"metrics": tables / "metrics.csv", "references": known, "measure": "mean_iou", "class_group": "all"}
    drawn = {31: [plot_thresholds(**scores, arms=ARMS, outputs=[]), plot_iterations(**scores, arms=ARMS, outputs=[])]}
    drawn[27] = [plot_learning_curves(tables / "history.csv", known, ARMS, [])]
    for score, figures in drawn.items():
        for axes in (axes for figure in figures for axes in figure.axes if axes.get_visible()):
            (line,) = (line for line in axes.lines if line.get_label().startswith("position prior"))
            assert list(line.get_ydata()) == [pytest.approx(score)] * 2
            assert axes.get_ylim()[0] < score < axes.get_ylim()[1]


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


@pytest.mark.parametrize("decisions", [["supported", "undecided"], ["refuted", "equivalent"]])
def test_contrasts_of_every_decision_can_be_drawn(tmp_path, decisions):
    columns = ["arm", "threshold", "comparator", "protocol", "measure", "class", "n", "difference", "ci_low", "ci_high"]
    about = [("mean_iou", "intact", "all"), ("validation_area", "validation", "all")]
    rows = [
        ("saliency", threshold, "equal_compute", protocol, measure, group, 2, 1.0, -1.0, 3.0, 0.5, False, decision)
        for threshold, decision in zip(("100", "70"), decisions, strict=False)
        for measure, protocol, group in about
    ]
    columns += ["margin", "less_to_lose", "decision"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "contrasts.csv", index=False)
    plot_contrasts(tmp_path / "contrasts.csv", "equal_compute", "mean_iou", "all", [tmp_path / "a.png"])
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_not_evaluated_is_refused_where_it_would_be_drawn(changed_images, tmp_path):
    table = pd.read_csv(changed_images)
    table[table["protocol"] == "intact"].to_csv(changed_images, index=False)
    with pytest.raises(InputError, match="neither a corruption nor a change of background was evaluated"):
        plot_robustness(changed_images, write_losses(tmp_path), "restarts", ARMS, [tmp_path / "robustness.png"])
    with create_hdf5(tmp_path / "counts.h5", "counts") as file:
        file.attrs["classes"] = ["background", "pet"]
        file["intact/test/confusion"] = np.ones((1, 3, 2, 2))
    with pytest.raises(InputError, match="the confidence of the models was not evaluated"):
        plot_reliability([tmp_path / "counts.h5"], [["saliency", "90", "1"]], ARMS, [tmp_path / "reliability.png"])


def write_losses(folder, *rows):
    """Write contrasts.csv: (comparator, measure, whether saliency at top 90 % has less to lose)."""
    table = pd.DataFrame(rows, columns=["comparator", "measure", "less_to_lose"])
    table = table.assign(arm="saliency", threshold="90", decision="")
    table.to_csv(folder / "contrasts.csv", index=False)
    return folder / "contrasts.csv"


def test_robustness_marks_who_has_less_to_lose_than_the_comparator(changed_images, tmp_path):
    rows = [("restarts", "corruption_drop", True), ("restarts", "background_swapped_drop", False)]
    rows.append(("single_pass", "background_swapped_drop", True))
    contrasts = write_losses(tmp_path, *rows)
    figure = plot_robustness(changed_images, contrasts, "restarts", ARMS, [tmp_path / "robustness.png"])
    faces = [axes.containers[0][0].get_markerfacecolor() for axes in figure.axes]
    assert faces == ["white", figure.axes[0].containers[0][0].get_color()]


def test_robustness_draws_the_mean_loss_of_every_family(changed_images, tmp_path):
    contrasts = write_losses(tmp_path)
    figure = plot_robustness(changed_images, contrasts, "restarts", ARMS, [tmp_path / "robustness.png"])
    noise, swapped = figure.axes
    assert (noise.get_title(), swapped.get_title()) == ("noise", "background\nswapped")
    assert [axes.containers[0][0].get_xdata().tolist() for axes in figure.axes] == [
        [pytest.approx(20)],
        [pytest.approx(40)],
    ]
    assert [text.get_text() for text in noise.get_yticklabels()] == ["saliency, top 90 %"]


def test_a_heat_map_colours_the_difference_from_iteration_1_in_one_range(changed_images, tmp_path):
    figure = plot_heat_map(changed_images, "mean_iou", "all", "saliency", [tmp_path / "heat.png"])
    mesh = figure.axes[0].collections[0]
    assert mesh.get_array().reshape(-1).tolist() == pytest.approx([0, 10])
    assert mesh.get_clim() == (-10, 10)
    assert [text.get_text() for text in figure.axes[0].texts] == ["70.0", "80.0"]


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
