import pytest

from experiments import REDUCTION
from spatial_reduction.masks.apply_mask import Removal
from spatial_reduction.masks.ranking import Schedule
from spatial_reduction.masks.reduction_step import ReductionStep
from spatial_reduction.masks.score_pixels import Scoring


def test_settings_go_to_the_part_that_they_belong_to():
    section = {"source": "entropy", "classes_of_interest": ["pet"], "rank": "lowest", "shuffle": True}
    section |= {"saliency_images": "intact", "fill": "mean", "removes": "loss", "intact_share": 25, "crop": True}
    step = ReductionStep.from_settings(section | {"schedule": "additive", "step": 5}, "92.5")
    assert step.scoring == Scoring("entropy", ["pet"], "lowest", True, "intact")
    assert step.schedule == Schedule("additive", 5, "92.5")
    assert step.removal == Removal("mean", "loss", 25, True)


def test_a_job_that_does_not_depend_on_a_key_has_its_default():
    step = ReductionStep.from_settings(REDUCTION, "50")
    assert step.removal == Removal(fill="black", removes="input", intact_share=0, crop=False)
    assert step.schedule.intact_iteration is None
    assert (step.scoring.rank, step.scoring.shuffle, step.scoring.saliency_images) == ("highest", False, "reduced")


def test_what_has_no_default_must_be_given():
    with pytest.raises(TypeError, match="source"):
        ReductionStep.from_settings({"schedule": "constant", "step": 0, "classes_of_interest": ["pet"]}, "50")
