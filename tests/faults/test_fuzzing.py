"""Configurations drawn at random: each is refused with a line that names the key, or plans a workflow."""

import gc
import os
import re
import warnings
from contextlib import contextmanager
from copy import deepcopy

import hypothesis
import pytest
import yaml
from hypothesis import strategies as st
from snakemake.api import ConfigSettings, OutputSettings, ResourceSettings, SnakemakeApi
from snakemake.settings.types import Quietness
from snakemake.utils import update_config

from experiments import ROOT, SCHEMA, TINY

ARMS = ["single_pass", "equal_compute", "saliency", "random", "new"]
JUNK = st.sampled_from(
    [
        None,
        True,
        0,
        1,
        -1,
        2,
        1e-9,
        0.5,
        101,
        10**12,
        float("inf"),
        float("nan"),
        "",
        "a",
        "1e-3",
        "../x y",
        "\n",
        [],
        {},
    ]
)
JUNK |= st.sampled_from([[[]], [None], [0, 0], ["pet", "pet"], ["nobody"], {}, {"a": None}, {"arms": {}}])
# The same draws every time; the fixtures hold no state.
FUZZ = hypothesis.settings(
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)


def values_of(schema):
    """Values that a schema allows, and near misses of them."""
    schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]] | schema if "$ref" in schema else schema
    near = [JUNK]
    if "enum" in schema:
        near.append(st.sampled_from(schema["enum"]))
    if "const" in schema:
        near.append(st.just(schema["const"]))
    if "number" in schema.get("type", []) or "integer" in schema.get("type", []):
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        high = min(schema.get("maximum", schema.get("exclusiveMaximum", 100)), 100)
        near += [st.integers(int(low), max(int(low), int(high))), st.sampled_from([low, high, low - 1, high + 1])]
    if schema.get("type") == "boolean":
        near.append(st.booleans())
    if "array" in schema.get("type", []):
        near.append(st.lists(values_of(schema.get("items", {})), max_size=3))
    return st.one_of(near)


def places_of(schema, place=()):
    """Every key of the configuration, outer ones too: [(path, schema)]."""
    found = [(place, schema)] if place else []
    for key, below in schema.get("properties", {}).items():
        below = SCHEMA["$defs"][below["$ref"].rpartition("/")[2]] | below if "$ref" in below else below
        found += places_of(below, (*place, key))
    return found


PLACES = places_of(SCHEMA)
REDUCTION = places_of(SCHEMA["$defs"]["reduction"])


@st.composite
def changes(draw):
    """A few changes of a good configuration: at known keys, at misspelt ones, in an arm."""
    drawn = {}
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["key", "key", "key", "arm", "arm", "typo"]))
        path, schema = draw(st.sampled_from(REDUCTION if kind == "arm" else PLACES))
        if kind == "arm":
            path = ("arms", draw(st.sampled_from(ARMS)), *path)
        if kind == "typo":
            path = (*path[:-1], path[-1] + "s")
        update_config(drawn, nested(path, draw(values_of(schema))))
    return drawn


def nested(path, value):
    for key in reversed(path):
        value = {key: value}
    return value


def laid_over(overrides):
    merged = deepcopy(TINY)
    update_config(merged, overrides)
    return merged


def assert_names_a_key(message, overrides):
    """One short line, after its place if it is in a file, and the key is one that was changed, or that a change left
    without what it names.
    """
    found = re.fullmatch(r"config: (?:\S*\.yaml:\d+: )?(\w+)[\w.]*( [\w.]+)*: .{1,1500}", str(message))
    assert found, message
    top = found[1] if found[1] != "top" else "top level"
    assert top in {*SCHEMA["properties"], *overrides, "top level"}, message


@pytest.mark.slow
@hypothesis.settings(FUZZ, max_examples=1000)
@hypothesis.given(overrides=changes())
def test_a_thousand_configurations_are_refused_by_key_or_resolved_into_arms(checked, overrides):
    try:
        defined = checked(laid_over(overrides))
    except SystemExit as refused:
        assert_names_a_key(refused.code, overrides)
    else:
        assert defined["ARMS"]
        assert defined["CHAINS"] or not defined["config"]["seeds"]


@contextmanager
def inside(folder):
    before = os.getcwd()
    try:
        yield
    finally:
        os.chdir(before)


def plan(folder, overrides):
    """Plan in this process: a process of its own takes ten times as long. Return why it was refused, or None."""
    path = folder / "overrides.yaml"
    path.write_text(yaml.safe_dump(laid_over(overrides)))
    with inside(folder), SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as snakemake:
        workflow = None
        try:
            workflow = snakemake.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(configfiles=[path]),
                snakefile=ROOT / "Snakefile",
                workdir=folder,
            )
            workflow.dag().execute_workflow(executor="dryrun")
        except SystemExit as refused:
            return refused.code
        finally:
            with warnings.catch_warnings(action="ignore", category=ResourceWarning):
                del workflow  # Snakemake leaves the clean-up of its folders to the collector
                gc.collect()
    return None


# Snakemake itself reads and refuses `pathvars`, before the Snakefile is.
@pytest.mark.slow
@hypothesis.settings(FUZZ, max_examples=40)
@hypothesis.given(overrides=changes().filter(lambda drawn: "pathvars" not in drawn))
def test_configurations_that_are_not_refused_plan_a_workflow(tmp_path, overrides):
    message = plan(tmp_path, overrides)
    if message is not None:
        assert_names_a_key(message, overrides)


def test_a_good_and_a_bad_configuration_are_told_apart(tmp_path):
    assert plan(tmp_path, {}) is None
    assert re.match(r"config: overrides\.yaml:\d+: seeds: ", plan(tmp_path, {"seeds": [1, 1]}))
