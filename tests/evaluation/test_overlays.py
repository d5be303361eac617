import numpy as np
import pytest
from PIL import Image

from spatial_reduction.evaluation.overlays import class_colours, outlines, write_overlay


def test_class_colours_differ():
    assert len(np.unique(class_colours(30), axis=0)) == 30


@pytest.mark.parametrize("band", [1, 10, 100])
def test_an_overlay_tints_the_foreground_and_outlines_it(tmp_path, monkeypatch, band):
    labels = np.zeros((5, 5), np.uint8)
    labels[1:4, 1:4] = 1
    assert outlines(labels).astype(int).tolist() == [
        [0, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
        [1, 1, 0, 1, 1],
        [1, 1, 1, 1, 1],
        [0, 1, 1, 1, 0],
    ]
    pixels = np.full((5, 5, 3), 100, np.uint8)
    monkeypatch.setattr("spatial_reduction.evaluation.overlays.BAND_PIXELS", band)
    write_overlay(tmp_path / "o.png", lambda rows: pixels[rows], labels, classes=2, foreground=[1])
    overlay, colour = np.asarray(Image.open(tmp_path / "o.png")), class_colours(2)[1]
    assert np.array_equal(overlay[0, 0], [100] * 3)  # background, even beside the outline
    assert np.array_equal(overlay[1, 1], colour)
    assert np.array_equal(overlay[2, 2], np.rint(0.65 * 100 + 0.35 * colour))
