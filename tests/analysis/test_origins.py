import json
import re
from copy import deepcopy

import numpy as np
import pytest
from snakemake.utils import update_config

from experiments import nested
from spatial_reduction.analysis.origins import Origins, require_origins, write_origin
from spatial_reduction.data.dataset_file import Dataset
from spatial_reduction.runtime.errors import InputError
from spatial_reduction.runtime.files import create_hdf5, file_digest, table_digest

ASKED = {
    "train_single_pass": {"code": "1a", "training": {"learning_rate": 0.01, "augmentation": []}, "removal": {}},
    "compute_saliency": {"code": "2b", "scoring": {"source": "probability"}},
    "shrink_mask": {"code": "3c", "reduction": {"step": 0}},
    "train_model": {"code": "1a", "training": {"learning_rate": 0.01, "augmentation": []}, "removal": {"crop": False}},
    "evaluate_model": {"code": "4d", "evaluation": {"splits": ["test"]}},
}
CHAIN = ("saliency", "90", "1")


def told(dataset, iterations=2):
    """What counts say that were made as ASKED."""
    data = {"data": Dataset.open(dataset).digest}
    place = {"arm": "saliency", "threshold": "90", "seed": "1"}
    first = data | {"train_model": {"arm": "single_pass", "seed": "1"} | ASKED["train_single_pass"]}
    later = data | {rule: place | ASKED[rule] for rule in ("compute_saliency", "shrink_mask", "train_model")}
    evaluated = {"evaluate_model": place | ASKED["evaluate_model"]}
    return data | evaluated | {"trainings": [first, later][:iterations], "files": [{}] * iterations}


@pytest.fixture
def join(tmp_path, dataset_path):
    """Read the counts of one chain that tell an origin with changes laid over it."""

    def run(origin=None, asked=ASKED, chain=CHAIN):
        path = tmp_path / "counts.h5"
        with create_hdf5(path, "counts") as file:
            if origin != {}:
                file["origin/json"] = np.bytes_(json.dumps(origin or told(dataset_path)))
        return Origins([path], [chain], {chain[0]: asked}, dataset_path)

    return run


def test_what_was_made_as_asked_is_joined(join, dataset_path):
    join()
    single = {rule: ASKED[rule] for rule in ("train_single_pass", "evaluate_model")}
    join(told(dataset_path, iterations=1), single)


@pytest.mark.parametrize(
    ("rule", "key", "value", "said"),
    [
        (
            "train_single_pass",
            "training.learning_rate",
            0.1,
            "iteration 1: train_model.training.learning_rate was 0.01",
        ),
        ("train_single_pass", "code", "9z", "iteration 1: train_model.code was '1a', '9z' is asked for"),
        (
            "train_model",
            "training.augmentation",
            ["flip"],
            "later iterations: train_model.training.augmentation was []",
        ),
        ("train_model", "removal.fill", "blur", "later iterations: train_model.removal.fill was 'nothing'"),
        ("compute_saliency", "scoring.source", "random", "compute_saliency.scoring.source was 'probability', 'random'"),
        ("shrink_mask", "reduction.step", 5, "later iterations: shrink_mask.reduction.step was 0, 5 is asked for"),
        (
            "evaluate_model",
            "evaluation.splits",
            ["train"],
            ": evaluate_model.evaluation.splits was ['test'], ['train']",
        ),
    ],
)
def test_what_was_made_otherwise_is_refused_by_name(join, tmp_path, rule, key, value, said):
    asked = deepcopy(ASKED)
    update_config(asked[rule], nested(key, value))
    with pytest.raises(InputError, match=re.escape(said)) as refused:
        join(asked=asked)
    assert str(refused.value).startswith(f"{tmp_path}/counts.h5: was not made as asked: ")


def test_a_later_iteration_that_differs_from_the_second_is_refused(join, dataset_path):
    origin = told(dataset_path)
    origin["trainings"].append(deepcopy(origin["trainings"][1]))
    origin["trainings"][2]["train_model"]["code"] = "0"
    with pytest.raises(InputError, match=r"later iterations: train_model\.code was '0', '1a' is asked for"):
        join(origin)


def test_other_data_another_chain_and_silence_are_refused(join, dataset_path):
    origin = told(dataset_path)
    origin["trainings"][0]["data"] = "another"
    with pytest.raises(InputError, match="iteration 1: data was 'another'"):
        join(origin)
    with pytest.raises(InputError, match=r"evaluate_model\.seed was '1', '2' is asked for"):
        join(chain=("saliency", "90", "2"))
    for place, key, value in ((0, "seed", "2"), (1, "seed", "2"), (1, "threshold", "70")):
        origin = told(dataset_path)
        origin["trainings"][place]["train_model"][key] = value
        where = ("iteration 1", "later iterations")[place]
        with pytest.raises(InputError, match=rf"{where}: train_model\.{key} was '{value}'"):
            join(origin)
    with pytest.raises(InputError, match=r"train_model\.removal was 'nothing', {} is asked for"):
        join(asked=ASKED | {"train_model": ASKED["train_model"] | {"removal": {}}})
    with pytest.raises(InputError, match=r"data was 'nothing'"):
        join({})
    with pytest.raises(InputError, match="later iterations: data was 'nothing'"):
        join(told(dataset_path, iterations=1))


def test_a_table_of_another_run_is_refused(join, tmp_path, dataset_path):
    history, metrics, counts = (tmp_path / name for name in ("history.csv", "metrics.csv", "validation_counts.h5"))
    history.write_text("epoch,train_loss,cumulative_seconds\n1,0.5,3.5\n")
    metrics.write_text("arm,value\nsaliency,0.5\n")
    with create_hdf5(counts, "validation_counts") as file:
        file["confusion"] = [1]
    files = {"history": table_digest(history), "validation_counts": file_digest(counts)}
    origins = join(told(dataset_path) | {"files": [{}, files], "metrics": table_digest(metrics)})
    origins.require_tables("metrics", [metrics], [CHAIN])
    origins.require_tables("history", [history], [(*CHAIN, 2)])
    origins.require_tables("validation_counts", [counts], [(*CHAIN, 2)])
    history.write_text("epoch,train_loss,cumulative_seconds\n1,0.5,9.5\n")  # another machine
    origins.require_tables("history", [history], [(*CHAIN, 2)])
    history.write_text("epoch,train_loss,cumulative_seconds\n1,0.25,3.5\n")
    for name, path, place in (("history", history, (*CHAIN, 2)), ("metrics", history, CHAIN)):
        with pytest.raises(InputError, match=f"{path}: is not the file that was written with the models of"):
            origins.require_tables(name, [path], [place])


COMPARED = {"code": "5e", "chains": [["saliency", "90", "1"]], "evaluation": {"resamples": 100, "controls": []}}


@pytest.fixture
def contrasts(tmp_path):
    """A table of the whole experiment, and the file that tells what made it."""
    table, origin = tmp_path / "contrasts.csv", tmp_path / "compare_arms.json"
    table.write_text("arm,difference\nsaliency,0.5\n")
    write_origin(origin, COMPARED, [table])
    return table, origin


def test_a_joined_table_that_was_made_as_asked_is_read(contrasts, tmp_path):
    table, origin = contrasts
    require_origins([origin], {"compare_arms": COMPARED}, [table, tmp_path / "of no rule.csv"])
    require_origins([origin], {"compare_arms": {"code": "another"}}, [])  # no table of it is to be read


def test_a_long_value_is_cut_in_a_message(contrasts):
    table, origin = contrasts
    for length, shown in ((198, "'" + 198 * "x" + "'"), (199, "'" + 199 * "x" + " ...")):
        with pytest.raises(InputError, match=rf"code was '5e', {re.escape(shown)} is asked for"):
            require_origins([origin], {"compare_arms": COMPARED | {"code": length * "x"}}, [table])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("evaluation.resamples", 200, "evaluation.resamples was 100, 200 is asked for"),
        ("evaluation.controls", ["random"], "evaluation.controls was [], ['random'] is asked for"),
        ("report.method", "saliency", "report.method was 'nothing', 'saliency' is asked for"),
        ("chains", [["saliency", "90", str(seed)] for seed in range(99)], "chains was [['saliency', '90', '1']], [["),
    ],
)
def test_a_joined_table_that_was_made_otherwise_is_refused_by_name(contrasts, key, value, said):
    table, origin = contrasts
    asked = deepcopy(COMPARED)
    update_config(asked, nested(key, value))
    with pytest.raises(InputError, match=re.escape(f"{table}: was not made as asked: {said}")) as refused:
        require_origins([origin], {"compare_arms": asked}, [table])
    assert len(str(refused.value)) < 600


def test_a_joined_table_that_was_changed_or_of_which_nothing_is_told_is_refused(contrasts):
    table, origin = contrasts
    table.write_text("arm,difference\nsaliency,0.6\n")
    with pytest.raises(InputError, match=r"contrasts\.csv: is not the table that was written; delete it"):
        require_origins([origin], {"compare_arms": COMPARED}, [table])
    for damaged in ("", "[]", '{"asked": {}}'):
        origin.write_text(damaged)
        with pytest.raises(InputError, match=r"compare_arms\.json: is damaged; delete it"):
            require_origins([origin], {"compare_arms": COMPARED}, [table])
