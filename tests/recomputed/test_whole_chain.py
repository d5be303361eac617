"""A whole experiment of the workflow recomputed by a second implementation, see `recomputed_chain`."""

import pytest

from experiments import run_snakemake
from recomputed_chain import (
    EXPERIMENT,
    REDUCING,
    SEEDS,
    THRESHOLD,
    Run,
    check_masks,
    check_measures,
    check_statistics,
    check_training,
    draw_pictures,
)

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]  # two minutes; test_one_chain takes seconds


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recomputed")
    draw_pictures(folder / "raw")
    experiment = {**EXPERIMENT, "dataset": {**EXPERIMENT["dataset"], "root": str(folder / "raw")}}
    done = run_snakemake(folder, overrides=experiment)
    assert done.returncode == 0, done.stderr
    return Run(folder)


every_chain = pytest.mark.parametrize(("arm", "seed"), [(arm, seed) for arm in REDUCING for seed in SEEDS])


@every_chain
def test_every_mask_keeps_the_most_salient_of_the_pixels_kept_so_far(run, arm, seed):
    check_masks(run, arm, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("arm", "threshold"), [("single_pass", "100"), ("saliency", THRESHOLD), ("own", THRESHOLD)])
def test_every_row_of_the_measures_of_a_chain(run, arm, threshold, seed):
    check_measures(run, arm, threshold, seed)


@pytest.mark.parametrize("arm", REDUCING)
@pytest.mark.parametrize("iteration", [1, 3])
def test_a_training_step_by_step(run, arm, iteration):
    check_training(run, arm, 2, iteration)


def test_every_contrast_and_every_word_of_the_verdict(run):
    check_statistics(run)
