import json
import re

import pytest

from spatial_reduction.analysis.origins import require_one_origin
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import create_hdf5

FIRST = {"code": "train_model 1a", "settings": {"model": {"widths": [4, 8]}, "training": {"learning_rate": 0.01}}}


def origin(**changes):
    changed = json.loads(json.dumps(FIRST))
    for name, value in changes.items():
        *sections, key = name.split("__")
        place = changed
        for section in sections:
            place = place[section]
        place[key] = value
    return changed


@pytest.fixture
def join(tmp_path):
    """Join the counts of chains, {(arm, threshold, seed): origins of its models, or None: untold}."""

    def run(chains):
        paths = []
        for chain, origins in chains.items():
            paths.append(tmp_path / "-".join(chain) / "counts.h5")
            with create_hdf5(paths[-1], "counts") as file:
                if origins is not None:
                    file.attrs["origins"] = [json.dumps(each) for each in origins]
        require_one_origin(paths, list(chains))

    return run


def test_seeds_that_were_made_alike_are_joined_and_arms_may_differ(join):
    other = [origin(settings__training__learning_rate=0.1), FIRST]
    join({("a", "90", "1"): [FIRST], ("a", "90", "2"): [FIRST], ("b", "90", "1"): other, ("a", "70", "1"): other})
    join({("a", "90", "1"): None, ("a", "90", "2"): None})


@pytest.mark.parametrize(
    ("origins", "told"),
    [
        ([origin(settings__training__learning_rate=0.001)], "training.learning_rate is 0.001 here, 0.01 there"),
        ([origin(settings__model__widths=[4, 16])], "model.widths is [4, 16] here, [4, 8] there"),
        ([origin(code="train_model 2b")], "code is 'train_model 2b' here, 'train_model 1a' there"),
        ([FIRST, origin(code="train_model 2b")], "later iterations: code is 'train_model 2b' here, None there"),
        (None, "code is None here, 'train_model 1a' there"),
    ],
)
def test_a_mixture_of_seeds_is_refused_by_name(join, tmp_path, origins, told):
    with pytest.raises(InputError, match=re.escape(told)) as refused:
        join({("a", "90", "1"): [FIRST], ("b", "90", "1"): [FIRST], ("a", "90", "2"): origins})
    assert str(refused.value).startswith(
        f"{tmp_path}/a-90-2/counts.h5: its models were not made as those of {tmp_path}/a-90-1"
    )
