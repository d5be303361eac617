import pandas as pd

from spatial_reduction.analysis.ladder import BOTH, CONTENT, MASKING, METHOD, TRAINING, build_ladder

REPORT = {"method": "saliency", "measure": "mean_iou", "class_group": "all"}
EVALUATION = {"comparators": ["restarts", "single_pass"], "controls": ["shuffled"]}


def contrasts(*rows):
    columns = ["arm", "threshold", "comparator", "difference"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(measure="mean_iou", protocol="intact", **{"class": "all"})


def test_the_steps_lead_from_the_baseline_to_the_method_at_each_threshold():
    table = contrasts(
        ("restarts", "100", "single_pass", 3.0),
        ("saliency", "90", "restarts", -1.0),
        ("saliency", "90", "single_pass", 2.0),
        ("saliency", "90", "shuffled", 0.5),
        ("saliency", "70", "restarts", -4.0),
        ("saliency", "70", "single_pass", -1.0),
    )
    found = [(s.threshold, s.name, s.contrast["difference"]) for s in build_ladder(table, EVALUATION, REPORT)]
    assert found == [
        ("90", TRAINING, 3.0),
        ("90", MASKING, -1.0),
        ("90", BOTH, 2.0),
        ("90", CONTENT, 0.5),
        ("70", TRAINING, 3.0),
        ("70", MASKING, -4.0),
        ("70", BOTH, -1.0),
    ]


def test_without_a_second_comparator_masking_is_the_only_step():
    table = contrasts(("saliency", "90", "restarts", -1.0))
    steps = build_ladder(table, {"comparators": ["restarts"], "controls": []}, REPORT)
    assert [(step.name, step.sides) for step in steps] == [(MASKING, ("saliency", "restarts"))]


def test_a_method_that_removes_nothing_is_not_called_masking():
    table = contrasts(("saliency", "100", "restarts", -1.0), ("restarts", "100", "single_pass", 3.0))
    assert [step.name for step in build_ladder(table, EVALUATION, REPORT)] == [TRAINING, METHOD]
