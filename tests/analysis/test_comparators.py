from spatial_reduction.analysis.comparators import pair_settings

SETTINGS = [("base", "100"), ("method", "90"), ("method", "70"), ("shuffled", "90"), ("shuffled", "70")]


def test_a_comparator_that_keeps_all_pixels_stands_beside_all():
    assert list(pair_settings(SETTINGS, ["base"])) == [
        ((arm, threshold), ("base", "100")) for arm, threshold in SETTINGS[1:]
    ]


def test_a_comparator_of_several_thresholds_stands_beside_the_same_alone():
    pairs = list(pair_settings(SETTINGS, ["shuffled"]))
    assert pairs == [(("method", "90"), ("shuffled", "90")), (("method", "70"), ("shuffled", "70"))]


def test_a_control_is_compared_with_the_method_alone():
    pairs = list(pair_settings([*SETTINGS, ("other", "90")], ["base"], ["shuffled"], "method"))
    assert [pair for pair in pairs if pair[1][0] == "shuffled"] == [
        (("method", "90"), ("shuffled", "90")),
        (("method", "70"), ("shuffled", "70")),
    ]
    assert (("other", "90"), ("base", "100")) in pairs


def test_who_keeps_another_share_is_not_compared():
    settings = SETTINGS[:-1]  # shuffled at top 90 % alone
    alike = [(("method", "90"), ("shuffled", "90"))]
    for comparators, controls in ((["base"], ["shuffled"]), (["base", "shuffled"], [])):
        pairs = list(pair_settings(settings, comparators, controls, "method"))
        assert [pair for pair in pairs if pair[1][0] == "shuffled" and pair[0][0] == "method"] == alike
