from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatial_reduction.data.decode import Pair
from spatial_reduction.data.splits import SPLITS, draw_stratified, redraw, split_pairs
from spatial_reduction.runtime.errors import InputError

SIZES = st.lists(st.integers(1, 25), min_size=1, max_size=6)
SHARES = st.integers(1, 99)


def make_pairs(*sizes, official=()):
    """Pairs a_00, a_01, ..., b_00, ...: `sizes` gives the number of pairs of each group."""
    names = [(group, f"{group}_{i:02}") for group, size in zip("abcdefgh", sizes, strict=False) for i in range(size)]
    parts = list(official) or [""] * len(names)
    return [
        Pair(name=name, image=Path(), labels=Path(), group=group, official=part)
        for (group, name), part in zip(names, parts, strict=True)
    ]


def split_config(method, validation=20, test=50, seed=0, lists=None):
    return {"method": method, "validation_share": validation, "test_share": test, "seed": seed, "lists": lists}


def write_lists(folder, **names):
    for split, text in names.items():
        (folder / split).write_text(text)
    return split_config("lists", lists={split: str(folder / split) for split in SPLITS})


def names_of(parts):
    return {split: [pair.name for pair in parts[split]] for split in SPLITS}


@settings(max_examples=60)
@given(sizes=SIZES, share=SHARES, seed=st.integers(0, 1000))
def test_every_group_gives_its_share_to_within_one_pair_and_all_together_exactly(sizes, share, seed):
    pairs = make_pairs(*sizes)
    rest, drawn = draw_stratified(pairs, share, seed)
    assert len(drawn) == len(pairs) * share // 100
    assert sorted(rest + drawn, key=lambda pair: pair.name) == pairs
    taken = Counter(pair.group for pair in drawn)
    assert all(
        abs(taken[group] - Fraction(size * share, 100)) < 1 for group, size in zip("abcdef", sizes, strict=False)
    )


@settings(max_examples=60)
@given(sizes=SIZES, validation=st.integers(1, 98), seed=st.integers(0, 1000), data=st.data())
def test_a_random_split_is_disjoint_complete_and_of_exact_counts(sizes, validation, seed, data):
    test = data.draw(st.integers(1, 99 - validation))
    pairs = make_pairs(*sizes)
    counts = {"validation": len(pairs) * validation // 100, "test": len(pairs) * test // 100}
    if not all(counts.values()):
        with pytest.raises(InputError, match=r"split of \d+ images is empty"):
            split_pairs(pairs, split_config("random", validation, test, seed))
        return
    parts = split_pairs(pairs, split_config("random", validation, test, seed))
    assert {split: len(parts[split]) for split in counts} == counts
    assert sorted((pair for split in SPLITS for pair in parts[split]), key=lambda pair: pair.name) == pairs


def test_a_share_that_no_binary_fraction_holds_is_exact():
    _, drawn = draw_stratified(make_pairs(*[25] * 8), 14.5, seed=0)
    assert len(drawn) == 29


def test_a_drawn_share_is_not_the_same_position_of_every_group():
    """Six groups of four, half of each: 24 pairs drawn in name order would give 01 and 03 of each."""
    _, drawn = draw_stratified(make_pairs(4, 4, 4, 4, 4, 4), 50, seed=0)
    assert len({tuple(p.name[2:] for p in drawn if p.group == group) for group in "abcdef"}) > 1


def test_the_official_split_keeps_the_release_s_test_set_and_draws_validation_from_the_rest():
    official = ["trainval"] * 10 + ["test"] * 3
    parts = split_pairs(make_pairs(13, official=official), split_config("official", validation=20))
    assert names_of(parts)["test"] == ["a_10", "a_11", "a_12"]
    assert (len(parts["train"]), len(parts["validation"])) == (8, 2)
    assert {pair.official for pair in parts["train"] + parts["validation"]} == {"trainval"}


@pytest.mark.parametrize("method", ["official", "random"])
def test_the_same_seed_gives_the_same_split_and_another_seed_another(method):
    pairs = make_pairs(10, 10, official=["trainval", "test"] * 10)
    first, again, other = (split_pairs(pairs, split_config(method, seed=seed)) for seed in (3, 3, 4))
    assert first == again
    assert names_of(first)["validation"] != names_of(other)["validation"]


def test_the_seed_leaves_the_official_test_set_alone():
    pairs = make_pairs(10, official=["trainval", "test"] * 5)
    assert len({str(split_pairs(pairs, split_config("official", seed=seed))["test"]) for seed in range(5)}) == 1


@pytest.mark.parametrize("method", ["official", "random"])
def test_every_split_is_sorted_by_name(method):
    parts = split_pairs(make_pairs(10, 10, official=["trainval", "test"] * 10), split_config(method))
    assert all(names == sorted(names) for names in names_of(parts).values())


def test_lists_give_exactly_the_named_pairs_and_leave_the_others_out(tmp_path):
    config = write_lists(tmp_path, train="a_03\na_00\na_01\n", validation="a_04\n", test="a_02\n")
    assert names_of(split_pairs(make_pairs(6), config)) == {
        "train": ["a_00", "a_01", "a_03"],
        "validation": ["a_04"],
        "test": ["a_02"],
    }


def test_an_unknown_name_in_a_list_is_refused_by_name(tmp_path):
    config = write_lists(tmp_path, train="a_00", validation="a_01\nnobody", test="a_02")
    with pytest.raises(InputError, match=r"validation: unknown names \['nobody'\]"):
        split_pairs(make_pairs(3), config)


def test_a_name_in_two_lists_is_refused_by_name(tmp_path):
    config = write_lists(tmp_path, train="a_00\na_02", validation="a_01", test="a_02")
    with pytest.raises(InputError, match=r"test: unknown names \[\], repeated names \['a_02'\]"):
        split_pairs(make_pairs(3), config)


def test_a_name_twice_in_one_list_is_refused_by_name(tmp_path):
    config = write_lists(tmp_path, train="a_00\na_00", validation="a_01", test="a_02")
    with pytest.raises(InputError, match=r"train: unknown names \[\], repeated names \['a_00'\]"):
        split_pairs(make_pairs(3), config)


def test_a_missing_list_is_refused_by_key_and_path(tmp_path):
    config = write_lists(tmp_path, train="a_00", validation="a_01")
    with pytest.raises(InputError, match=r"dataset\.split\.lists\.test: .*test: No such file"):
        split_pairs(make_pairs(3), config)


@pytest.mark.parametrize("empty", SPLITS)
def test_an_empty_list_is_refused(tmp_path, empty):
    names = {"train": "a_00", "validation": "a_01", "test": "a_02"} | {empty: ""}
    with pytest.raises(InputError, match=f"the {empty} split of 3 images is empty"):
        split_pairs(make_pairs(3), write_lists(tmp_path, **names))


def test_pairs_without_an_official_test_set_have_no_official_split():
    with pytest.raises(InputError, match=r"train split of 5 images is empty \(method official\)"):
        split_pairs(make_pairs(5), split_config("official"))


def test_shares_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(InputError, match="train split of 10 images is empty"):
        split_pairs(make_pairs(10), split_config("random", validation=60, test=60))


def test_a_share_too_small_for_one_pair_is_refused():
    with pytest.raises(InputError, match="validation split of 10 images is empty"):
        split_pairs(make_pairs(10), split_config("random", validation=9, test=50))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_list_may_come_from_any_editor_and_hold_any_name(tmp_path, encoding, end):
    names = ["my pic", "nan", "None", "h\u00f6rnchen"]
    pairs = [Pair(name, Path(), Path()) for name in names]
    config = write_lists(tmp_path, validation="nan", test="None")
    written = f"my pic{end}{end}ho\u0308rnchen  {end}"  # an empty line, white space at an end, another Unicode form
    (tmp_path / "train").write_bytes(written.encode(encoding))
    found = names_of(split_pairs(pairs, config))
    assert found == {"train": ["h\u00f6rnchen", "my pic"], "validation": ["nan"], "test": ["None"]}


@settings(max_examples=40)
@given(sizes=SIZES, seed=st.integers(0, 1000), data=st.data())
def test_pairs_drawn_anew_are_as_many_and_stratified(sizes, seed, data):
    pairs = make_pairs(*sizes)
    validating = data.draw(st.integers(0, len(pairs)))
    train, validation = redraw([p.name for p in pairs], [p.group for p in pairs], validating, (0, seed))
    assert len(validation) == validating
    assert sorted([*train, *validation]) == [*range(len(pairs))]
    taken = Counter(pairs[row].group for row in validation)
    assert all(
        abs(taken[group] - Fraction(size * validating, len(pairs))) < 1
        for group, size in zip("abcdef", sizes, strict=False)
    )
