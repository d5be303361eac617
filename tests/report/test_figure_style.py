import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy import stats

from spatial_reduction.report.figure_style import (
    LOOKS,
    SHIPPED,
    arm_styles,
    display_name,
    finish_figure,
    mean_interval,
    set_sizes,
)

ALL = {name: role for role, names in SHIPPED.items() for name in names}


def test_an_arm_looks_the_same_whatever_other_arms_an_experiment_has():
    alone = {name: arm_styles({name: role})[name] for name, role in ALL.items()}
    assert arm_styles(ALL) == alone
    own = {"mine": "variant", **ALL}
    assert arm_styles(own)["mine"] == arm_styles({"mine": "variant"})["mine"]


def test_all_arms_that_the_project_names_look_different():
    looks = {(style["color"], style["marker"]) for style in arm_styles(ALL).values()}
    assert len(looks) == len(ALL)


def test_the_method_is_the_strongest_line_whatever_its_name():
    styles = arm_styles({"mine": "method", "saliency": "variant", "single_pass": "baseline"})
    assert styles["mine"]["color"] == LOOKS["method"].colours[0]
    assert styles["mine"]["linewidth"] > max(styles[name]["linewidth"] for name in ("saliency", "single_pass"))


def test_arms_of_one_s_own_differ_while_there_are_looks_left():
    roles = {f"variant {index}": "variant" for index in range(30)} | ALL
    styles = arm_styles(roles)
    assert len({(style["color"], style["marker"]) for style in styles.values()}) == len(roles)


def test_an_interval_is_that_of_student():
    values = np.array([1.0, 2.0, 4.0])
    mean, half = mean_interval(values)
    expected = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx(expected)
    assert np.isnan(mean_interval(np.array([1.0]))[1])


def test_names_are_printed_without_underscores():
    assert display_name("single_pass") == "single pass"


@pytest.mark.parametrize("points", [7, 12])
def test_what_stands_below_a_figure_makes_it_no_wider(tmp_path, points):
    set_sizes(points)
    figure = plt.figure(figsize=(3, 2))
    table, note = (
        pd.DataFrame({"seed": range(1, 11)}),
        "small points: seeds; marks and lines: mean; bars: 95 % interval",
    )
    finish_figure(figure, [tmp_path / "a.png"], table, note)
    set_sizes(9)
    (text,) = figure.texts
    assert (
        text.get_text().replace("\n", " ").endswith("Small points: seeds; marks and lines: mean; bars: 95 % interval.")
    )
    reach = text.get_window_extent(FigureCanvasAgg(figure).get_renderer())
    assert 0.6 * figure.bbox.width < reach.width < figure.bbox.width


@pytest.mark.parametrize(
    ("groups", "said"),
    [(["pet_and_background"], True), (["pet_and_background", "foreground"], True), (["all"], False), ("ab", False)],
)
def test_the_line_names_the_classes_that_a_score_is_averaged_over(tmp_path, groups, said):
    figure, _ = plt.subplots()
    finish_figure(figure, [tmp_path / "a.png"], pd.DataFrame({"seed": 1, "class": list(groups)}), "points: seeds")
    assert ("Scores: over the classes of pet_and_background." in figure.texts[0].get_text()) == said


@pytest.mark.parametrize("centimetres", [8, 20])
def test_a_figure_has_the_width_that_is_asked_for_and_its_text_the_same_size(tmp_path, centimetres):
    set_sizes(9, centimetres)
    figure, axes = plt.subplots(figsize=(5, 3))
    axes.set_ylabel("score")
    finish_figure(figure, [tmp_path / "a.png"], pd.DataFrame({"seed": [1]}), "points: seeds")
    set_sizes(9)
    assert figure.get_size_inches() == pytest.approx([centimetres / 2.54, 3])
    assert plt.imread(tmp_path / "a.png").shape[1] / 160 * 2.54 == pytest.approx(centimetres, abs=0.8)
    assert axes.yaxis.label.get_size() == 9
