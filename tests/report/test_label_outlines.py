import numpy as np

from spatial_reduction.evaluation.overlays import class_colours
from spatial_reduction.report.label_outlines import SIDE, draw_labels, plot_labels


def test_outlines_have_the_colour_of_their_class_and_lie_inside_it():
    image, labels = np.full((8, 8, 1), 9, np.uint8), np.zeros((8, 8), np.uint8)
    labels[2:6, 2:6] = 1
    drawn = draw_labels(image, labels, [1])
    assert drawn.shape[0] >= SIDE
    times = len(drawn) // 8
    inside = np.zeros(drawn.shape[:2], bool)
    inside[2 * times : 6 * times, 2 * times : 6 * times] = True
    is_line = (drawn == class_colours(2)[1]).all(axis=2)
    assert (drawn[~is_line] == 9).all()
    assert not is_line[~inside].any()
    assert is_line[2 * times, 2 * times : 6 * times].all()
    assert not is_line[4 * times, 4 * times]


def test_ignored_pixels_are_outlined_in_white_and_other_classes_not_at_all():
    image, labels = np.full((8, 8, 3), 9, np.uint8), np.zeros((8, 8), np.uint8)
    labels[:4], labels[4:] = 2, 255
    drawn = draw_labels(image, labels, [1])
    half = len(drawn) // 2
    assert (drawn[:half] == 9).all()
    assert (drawn[half] == 255).all()


def test_the_figure_shows_images_of_every_split(dataset_path, tmp_path):
    figure = plot_labels(dataset_path, ["pet", "border"], [tmp_path / "labels.png"])
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["train"] * 8 + ["validation"] * 2 + ["test"] * 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["pet", "border"]
    assert (tmp_path / "labels.png").stat().st_size > 0
