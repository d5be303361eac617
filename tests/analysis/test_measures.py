import pytest

from spatial_reduction.analysis.measures import (
    HYPOTHESES,
    LOSSES,
    MEASURES,
    PROTOCOLS,
    deciding_measures,
    describe_determinism,
    format_p,
    format_whole,
    margin_of,
    measured_group,
)


def test_every_hypothesis_and_every_loss_names_measures_and_protocols_that_there_are():
    deciding = deciding_measures("mean_iou")
    assert deciding.keys() == HYPOTHESES.keys()
    for measure, protocol in deciding.values():
        assert measure in MEASURES
        assert protocol in PROTOCOLS
    assert LOSSES.keys() | set(LOSSES.values()) <= MEASURES.keys()
    assert not any(MEASURES[loss].higher_is_better for loss in LOSSES)


def test_a_margin_in_points_is_a_hundredth_in_nats():
    assert margin_of("mean_iou", {"default": 0.5}) == 0.5
    assert margin_of("nll", {"default": 0.5}) == 0.005
    assert margin_of("nll", {"default": 0.5, "nll": 0.1}) == 0.1


def test_differences_are_in_points_but_those_of_information_and_of_time():
    others = {name: measure.unit for name, measure in MEASURES.items() if measure.unit != "points"}
    information = ["variation_of_information", "variation_of_information_thinned", "vi_split", "vi_merge"]
    assert others == {"nll": "nats per pixel", **dict.fromkeys(information, "bits"), "steps_to_95": "steps"}


def test_a_difference_is_printed_to_a_hundredth_of_a_point_and_finer_where_scores_are():
    finer = {name: measure.digits for name, measure in MEASURES.items() if measure.digits != 2}
    assert finer == {
        "nll": 4,
        **dict.fromkeys(["rand_error", "rand_error_thinned", "pixel_error"], 3),
        **dict.fromkeys(["variation_of_information", "variation_of_information_thinned", "vi_split", "vi_merge"], 4),
        "warping_error": 5,
        "steps_to_95": 0,
    }


def test_less_is_better_of_errors_and_losses_and_steps():
    better = {name for name, measure in MEASURES.items() if measure.higher_is_better}
    assert better == {
        *("mean_iou", "mean_dice", "binary_iou", "pixel_accuracy", "mean_boundary_iou", "seg", "object_f1"),
        *("mean_object_f1", "validation_area", "validation_area_pixels"),
    }


def test_shares_are_printed_in_per_cent_and_all_else_as_it_is():
    assert {measure.scale for measure in MEASURES.values() if measure.unit == "points"} == {100}
    assert {measure.scale for measure in MEASURES.values() if measure.unit != "points"} == {1}


def test_measures_of_objects_and_those_that_name_their_images_are_marked():
    about = {name for name, measure in MEASURES.items() if measure.is_of_objects}
    assert about == {
        *("rand_error", "variation_of_information", "vi_split", "vi_merge", "warping_error", "pixel_error", "seg"),
        *("rand_error_thinned", "variation_of_information_thinned", "object_f1", "mean_object_f1"),
    }
    named = {name for name, measure in MEASURES.items() if measure.names_images}
    assert named == {*LOSSES, "validation_area", "validation_area_pixels", "steps_to_95"}


def test_an_axis_tells_the_unit_of_a_score_and_where_less_is_better():
    assert MEASURES["mean_iou"].score_unit == "%"
    assert MEASURES["rand_error"].score_unit == "%, lower is better"
    assert MEASURES["nll"].score_unit == "nats per pixel, lower is better"
    assert [MEASURES[name].score_digits for name in ("mean_iou", "nll")] == [1, 3]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0009, "< .001"), (0.001, ".001"), (0.05, ".050"), (1.0, "1.000"), (float("nan"), "not defined")],
)
def test_a_p_value_is_printed_without_its_leading_zero(value, text):
    assert format_p(value) == text


def test_only_means_over_classes_follow_the_class_group():
    assert measured_group("mean_dice", "animals") == "animals"
    assert measured_group("binary_iou", "animals") == "foreground"
    assert measured_group("ece", "animals") == "all"
    assert format_whole(1234567.4) == "1,234,567"
    assert format_whole(float("nan")) == ""


def test_determinism_is_promised_where_it_holds():
    assert describe_determinism(False, ["cpu (x)"]).startswith("not needed on a CPU")
    assert "another run may differ" in describe_determinism(False, ["cpu (x)", "a GPU"])
    assert describe_determinism(True, ["a GPU"]).endswith("ran on a GPU")
    assert describe_determinism(True, ["cpu (x)"]).endswith("ran on the CPU alone")
    mixed = describe_determinism(False, ["b GPU", "cpu (x)", "a GPU", "a GPU"])
    assert mixed.endswith("accumulated rounding; ran on a GPU, b GPU")
