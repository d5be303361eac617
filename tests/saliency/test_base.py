import numpy as np
import pytest

from spatial_reduction.masks.ranking import shrink_mask
from spatial_reduction.runtime.device import Machine
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.saliency.base import Context, stream_scores, uses_labels


@pytest.mark.parametrize("source", ["probability", "random", "random_blocks", "oracle", "centre"])
def test_every_source_scores_every_training_pixel_and_repeats_itself(source, scores_of, dataset, tmp_path):
    first, again = (scores_of(tmp_path / name, source=source) for name in ("a.h5", "b.h5"))
    assert first.shape == (10, 16, 16)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert np.array_equal(first, again)


def test_the_lowest_rank_keeps_what_the_highest_removes(scores_of, dataset, tmp_path):
    highest = scores_of(tmp_path / "a.h5", source="probability").reshape(10, -1)
    lowest = scores_of(tmp_path / "b.h5", source="probability", rank="lowest").reshape(10, -1)
    everything = np.ones(highest.shape, bool)
    assert np.array_equal(shrink_mask(everything, lowest, 64), ~shrink_mask(everything, highest, 192))


def test_a_source_is_asked_for_what_is_most_relevant_unless_for_the_least():
    blocks, context = [(None, np.zeros((1, 1, 3), np.uint8))], Context("no model", Machine("cpu", 1), 3, [1], 1, 2)
    assert next(stream_scores("centre", blocks, context)).tolist() == [[[-0.5, 0, -0.5]]]
    assert next(stream_scores("centre", blocks, context, "lowest")).tolist() == [[[0.5, 0, 0.5]]]


def test_a_file_without_the_function_is_no_source(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("stream_scores = 1\n")
    with pytest.raises(InputError, match=r"own\.py: holds no function stream_scores\(blocks, context\)$"):
        stream_scores(str(path), [], None)


def test_the_oracle_alone_needs_true_labels_beside_files_that_say_so(tmp_path):
    for name, first in (("asks", "USES_LABELS = True"), ("does_not", "")):
        (tmp_path / f"{name}.py").write_text(f"{first}\ndef stream_scores(blocks, context):\n    yield\n")
    sources = ["oracle", "random", "probability", str(tmp_path / "asks.py"), str(tmp_path / "does_not.py")]
    assert [uses_labels(source) for source in sources] == [True, False, False, True, False]
