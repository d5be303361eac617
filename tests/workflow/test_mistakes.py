"""The mistakes that users make, and the one line that each gets: file, line, key, value, the way out."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest
import yaml

from experiments import ROOT, SCHEMA

OTHER_CLASSES = """
dataset:
  classes: [{name: sky, labels: [2]}, {name: cat, labels: [1]}, {name: edge, labels: [3]}]
"""
A_CLASS = """
dataset:
  classes: [{name: %s, labels: [2]}, {name: pet, labels: [1]}, {name: border, labels: [3]}]
"""
LONG = "a" * 301


@pytest.fixture
def started(checked, tmp_path, monkeypatch):
    """Run all checks as a run does that is started with files my_0.yaml, my_1.yaml, ... of these texts."""
    monkeypatch.chdir(tmp_path)

    def run(*texts, named=()):
        overrides = {}
        paths = [tmp_path / f"my_{index}.yaml" for index in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
            overrides |= yaml.safe_load(text)
        settings = SimpleNamespace(configfiles=paths, config=dict(named))
        return checked(
            overrides | dict(named), is_main_process=True, config_settings=settings, workdir_init=str(tmp_path)
        )

    return run


@pytest.fixture
def told(started):
    """Return the line with which these files are refused, without its "config: "."""

    def run(*texts, **options):
        with pytest.raises(SystemExit) as refused:
            started(*texts, **options)
        line = refused.value.code.removeprefix("config: ")
        assert "\n" not in line
        return line

    return run


# (what the file says; how the line begins; how it ends)
REFUSED = {
    "a key twice": (
        "training:\n  epochs: 3\n  epochs: 4\n",
        "my_0.yaml:3: training.epochs: stands twice in this file, first in line 2",
        "",
    ),
    "a section twice": (
        "training: {epochs: 3}\nseeds: [1]\ntraining: {batch_size: 8}\n",
        "my_0.yaml:3: training: stands twice in this file, first in line 1",
        "",
    ),
    "an arm without settings": (
        "arms:\n  fresh:\n",
        "my_0.yaml:2: arms.fresh: has no settings",
        "write {} for the defaults, null to leave it out",
    ),
    "an exponent without point": (
        "training:\n  learning_rate: 1e-3\n",
        "my_0.yaml:2: training.learning_rate: '1e-3' is not of type 'number'",
        "YAML reads this as text: write 0.001",
    ),
    "a number in quotes": ("training: {epochs: '3'}", "my_0.yaml:1: training.epochs: '3' is not", "write 3"),
    "a number to base 8": (
        "training: {batch_size: 010}",
        "my_0.yaml:1: training.batch_size: YAML reads 010 as a number to base 8",
        "write it as one number",
    ),
    "a number to base 60": (
        "training: {batch_size: 1:30}",
        "my_0.yaml:1: training.batch_size: YAML reads 1:30 as minutes and seconds",
        "",
    ),
    "an old name of a protocol": (
        "evaluation: {protocols: [T2]}",
        "my_0.yaml:1: evaluation.protocols: ['T2'] must hold intact",
        "T2 is now called self_masked",
    ),
    "old names of protocols": (
        "evaluation: {protocols: [T1, T3]}",
        "my_0.yaml:1: evaluation.protocols: ['T1', 'T3'] must hold intact",
        "T1 is now called intact; T3 is now called label_masked",
    ),
    "an unknown protocol": (
        "evaluation:\n  protocols: [intact, snow]\n",
        "my_0.yaml:2: evaluation.protocols.1: 'snow' is not one of ['intact', 'self_masked', ",
        "",
    ),
    "a misspelt section": (
        "seeds: [1]\ntraning: {epochs: 3}",
        "my_0.yaml:2: top level: Additional",
        "did you mean training?",
    ),
    "a misspelt key": ("training: {epoch: 3}", "my_0.yaml:1: training: Additional", "did you mean epochs?"),
    "a misspelt source": (
        "reduction: {source: entropie}",
        "my_0.yaml:1: reduction.source: 'entropie' is not one of ['probability', 'entropy', 'grad_cam', ",
        "a file of your own, path/to/my_source.py.); did you mean entropy?",
    ),
    "a misspelt source of an arm": (
        "arms:\n  mine: {source: gradcam}",
        "my_0.yaml:2: arms.mine.source: 'gradcam' is not one of ['probability', ",
        "did you mean grad_cam?",
    ),
    "a source like no other": (
        "report: {sources: [zzz]}",
        "my_0.yaml:1: report.sources.0: 'zzz' is not one of ['prob",
        ".)",
    ),
    "a misspelt measure": (
        "evaluation: {measures: [mean_iuo]}",
        "my_0.yaml:1: evaluation.measures.0: 'mean_iuo' is not one of ['mean_iou', ",
        "did you mean mean_iou?",
    ),
    "a misspelt kind of weights": (
        "training: {class_weights: balancd}",
        "my_0.yaml:1: training.class_weights: 'balancd' is not allowed (Weights of",
        "did you mean balanced?",
    ),
    "a misspelt last": (
        "prediction: {iteration: lst}",
        "prediction.iteration: 'lst' is not allowed (Its it",
        "mean last?",
    ),
    "a margin of no measure": (
        "evaluation: {margins: {men_iou: 1}}",
        "my_0.yaml:1: evaluation.margins: 'men_iou' is not allowed (default, a measure, or validation_area.)",
        "",
    ),
    "a group that is no list": (
        "evaluation: {class_groups: {x: pet}}",
        "my_0.yaml:1: evaluation.class_groups.x: 'pet' is not allowed (A list of classes; null leaves",
        "",
    ),
    "a folder with a space": (
        "pathvars: {results: my results}",
        "my_0.yaml:1: pathvars.results: 'my results' is not allowed (Letters without accents, digits and _ .",
        "",
    ),
    "an encoder with a space": (
        "model: {encoder: res net}",
        "my_0.yaml:1: model.encoder: 'res net' is not allowed (Encoder of encoder_unet: name of a timm network",
        "",
    ),
    "an arm with a capital": (
        "arms: {Mine: {}}",
        "my_0.yaml:1: arms: 'Mine' is not allowed (Small letters, digits",
        "",
    ),
    "a dotted key": (
        "training.epochs: 3",
        "top level: Additional",
        "write sections inside each other: {a: {b: c}}, not a.b: c",
    ),
    "a section without keys": ("training:\n", "my_0.yaml:1: training: None is not of type 'object'", ""),
    "a key without value": ("training: {epochs: }", "my_0.yaml:1: training.epochs: None is not of type 'integer'", ""),
    "classes under other names": (
        OTHER_CLASSES,
        "my_0.yaml:3: dataset.classes: has sky, cat, edge, but these name others: ",
        "",
    ),
    "a class name that tables take for missing": (
        A_CLASS % "None",
        "my_0.yaml:3: dataset.classes.0.name: 'None' should",
        "",
    ),
    "a class name in quotes that tables take for missing": (
        A_CLASS % "'null'",
        "my_0.yaml:3: dataset.classes.0.name: 'null'",
        "",
    ),
    "a class name of 301 letters": (A_CLASS % LONG, "my_0.yaml:3: dataset.classes.0.name: 'aaaa", ""),
    "not a number": ("report: {text_size: .nan}", "my_0.yaml:1: report.text_size: nan is not of type 'number'", ""),
    "infinity": (
        "training: {learning_rate: .inf}",
        "my_0.yaml:1: training.learning_rate: inf is not of type 'number'",
        "",
    ),
    "an infinite range": (
        "dataset: {intensity_range: [0, .inf]}",
        "my_0.yaml:1: dataset.intensity_range.1: inf is not",
        "",
    ),
    "a threshold of nan": ("reduction: {thresholds: [.nan]}", "my_0.yaml:1: reduction.thresholds.0: nan is not", ""),
    "a gate of nan": ("report: {least_baseline_iou: .nan}", "my_0.yaml:1: report.least_baseline_iou: nan is not", ""),
    "nan in an arm": ("arms: {saliency: {step: .nan}}", "my_0.yaml:1: arms.saliency.step: nan is not", ""),
    "a whole number with a point": ("training: {epochs: 3.0}", "my_0.yaml:1: training.epochs: 3.0 is not", "write 3"),
    "a seed with a point": ("seeds: [1.0]", "my_0.yaml:1: seeds.0: 1.0 is not of type 'integer'; write 1", ""),
    "a huge whole number": (
        "training: {epochs: 1.0e+300}",
        "my_0.yaml:1: training.epochs: 1e+300 is not of type 'integer'",
        "",
    ),
    "a huge number of digits": (f"seeds: [{10**400}]", "my_0.yaml:1: seeds.0: 1000", ""),
    "true for a number": ("seeds: [true]", "my_0.yaml:1: seeds.0: True is not of type 'integer'", ""),
    "thresholds that share files": (
        "reduction: {thresholds: [90, 90.00000000001]}",
        "my_0.yaml:1: reduction.thresholds: 90.00000000001 has more than 10 digits",
        "",
    ),
    "an arm called no": ("arms: {no: {}}", "my_0.yaml:1: arms.no: YAML reads the name no as bool", "choose another"),
    "an arm called 1": ("arms: {1: {}}", "my_0.yaml:1: arms.1: YAML reads the name 1 as int", "choose another"),
    "an arm called null": (
        "arms: {null: {}}",
        "my_0.yaml:1: arms.null: YAML reads the name null as null",
        "choose another",
    ),
    "an arm called null in quotes": ("arms: {'null': {}}", "my_0.yaml:1: arms: 'null' should not be valid", ""),
    "an arm called nan": ("arms: {nan: {}}", "my_0.yaml:1: arms: 'nan' should not be valid", ""),
    "an arm of 301 letters": (f"arms: {{{LONG}: {{}}}}", "my_0.yaml:1: arms: 'aaaa", ""),
    "a group called no": (
        "evaluation: {class_groups: {no: [pet]}}",
        "my_0.yaml:1: evaluation.class_groups.no: YAML reads",
        "",
    ),
    "a group called 1": (
        "evaluation: {class_groups: {1: [pet]}}",
        "my_0.yaml:1: evaluation.class_groups.1: YAML reads",
        "",
    ),
    "a group of 301 letters": (
        f"evaluation: {{class_groups: {{{LONG}: [pet]}}}}",
        "my_0.yaml:1: evaluation.class_groups: 'aaaa",
        "",
    ),
    "a group without classes": (
        "evaluation: {class_groups: {pets: }}",
        "my_0.yaml:1: evaluation.class_groups.pets: has no",
        "",
    ),
    "a truth value for text": ("dataset: {on_error: no}", "my_0.yaml:1: dataset.on_error: False is not one of", ""),
    "a number for text": ("report: {title: 5}", "my_0.yaml:1: report.title: 5 is not of type 'string'", ""),
    "a date for text": (
        "report: {title: 2026-11-25}",
        "my_0.yaml:1: report.title: datetime.date(2026, 11, 25) is not",
        "",
    ),
    "too many seeds": (f"seeds: {list(range(1001))}", "my_0.yaml:1: seeds: [0, 1, 2, 3,", ""),
    "a grid too large to plan": (
        f"reduction: {{iterations: 1000, thresholds: {list(range(6, 101))}}}",
        " trainings (arms x thresholds x seeds x iterations); ",
        "100,000 at most can be planned",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_mistake_is_refused_in_one_line_that_says_where_it_stands(told, mistake):
    text, start, end = REFUSED[mistake]
    line = told(text)
    assert start in line
    assert line.endswith(end)
    assert len(line) < 700


def test_no_mistake_is_answered_by_a_regular_expression():
    """What a pattern refuses is explained by the description beside it."""

    def patterns(schema):
        parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
        yield from (each for part in parts for each in patterns(part))
        if isinstance(schema, dict) and isinstance(schema.get("pattern"), str):
            yield schema

    # The pattern of a source is one of the ways to write it: the description is that of all.
    assert [each for each in patterns(SCHEMA) if "description" not in each] == [SCHEMA["$defs"]["source"]["anyOf"][1]]
    assert "path/to/my_source.py" in SCHEMA["$defs"]["source"]["description"]


NO_ROOT = "dataset.root: names no folder, and source folder reads the pictures of one; "
BY_COMMAND = 'add --config "dataset={root: path/to/folder}"'
PICTURES = "split: {method: random}, source: folder"


@pytest.mark.parametrize(
    ("texts", "place"),
    [
        ([f"dataset:\n  root: null\n  {PICTURES.replace(', ', chr(10) + '  ')}"], "my_0.yaml:2"),
        ([f"dataset: {{{PICTURES}}}", "seeds: [1]"], "my_1.yaml"),  # said by the defaults alone: the user's last file
    ],
)
def test_a_folder_that_no_file_names_is_asked_for_where_the_user_can_name_it(told, texts, place):
    assert told(*texts) == f"{NO_ROOT}write it into {place} (dataset: {{root: path/to/folder}}), or {BY_COMMAND}"


def test_without_a_file_of_the_users_the_folder_is_asked_for_on_the_command_line(told):
    named = {"dataset": {"source": "folder", "split": {"method": "random"}}}
    assert told(named=named) == f"{NO_ROOT}{BY_COMMAND}"


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("def stream_score(blocks, context):\n    yield\n", "; did you mean stream_score?"),
        ("class A:\n    def stream_scores(self, blocks):\n        yield\n", ""),
        ("print(stream_scores)\n", ""),
    ],
)
def test_a_source_of_ones_own_without_its_function_is_refused_before_anything_runs(told, tmp_path, text, end):
    (tmp_path / "own.py").write_text(f"raise SystemExit('imported')\n{text}")
    line = f"own.py holds no function stream_scores(blocks, context){end}"
    assert told("arms: {mine: {source: own.py}}") == f"my_0.yaml:1: arms.mine.source: {line}"
    assert told("report: {sources: [own.py]}") == f"my_0.yaml:1: report.sources: {line}"


@pytest.mark.parametrize(
    "text",
    [
        "def stream_scores(blocks, context):\n    yield\n",
        "if True:\n    from elsewhere import other as stream_scores\n",
        "stream_scores = make()\n",
        "from elsewhere import *\n",
    ],
)
def test_however_a_file_comes_by_its_function_it_is_accepted(started, tmp_path, text):
    (tmp_path / "own.py").write_text(text)
    started("arms: {mine: {source: own.py}}")


def test_a_source_that_is_no_python_is_refused_with_its_line(told, tmp_path):
    (tmp_path / "own.py").write_text("import os\ndef stream_scores(blocks, context)\n")
    assert told("arms: {mine: {source: own.py}}").endswith("own.py, line 2: expected ':'")


def test_a_network_of_ones_own_without_its_class_is_refused_before_anything_runs(told, started, tmp_path):
    (tmp_path / "own.py").write_text("class MyNet:\n    pass\n")
    text = "model: {name: file, path: own.py, class: %s, stride: 1}"
    assert told(text % "MyNetz").endswith("model.class: own.py holds no class MyNetz; did you mean MyNet?")
    started(text % "MyNet")


def test_wrong_names_of_classes_are_told_together_each_with_its_place(told):
    named = dict(re.findall(r"([\w.]+): ([\w, ]+)(?:;|$)", told(OTHER_CLASSES).partition("name others: ")[2]))
    assert named == {
        "evaluation.foreground": "border, pet",
        "reduction.classes_of_interest": "border, pet",
        "evaluation.class_groups.pet_and_background": "background, pet",
    }


def test_the_last_file_that_says_a_key_is_the_one_that_is_named(told):
    assert told("training: {epochs: 3}", "\ntraining: {epochs: 0}").startswith(
        "my_1.yaml:2: training.epochs: 0 is less"
    )


@pytest.mark.parametrize(
    ("named", "key"),
    [
        ({"training": {"epochs": "3"}}, "training.epochs"),
        ({"seeds": ["3"]}, "seeds.0"),
        ({"model": {"widths": [2, "3"]}}, "model.widths.1"),
        ({"arms": {"saliency": {"iterations": "3"}}}, "arms.saliency.iterations"),
    ],
)
def test_a_value_of_the_command_line_is_named_as_such(told, named, key):
    """Also where a file says the key with another value, and where the value is an item of a list."""
    line = told("seeds: [1]\ntraining: {epochs: 3}", named=named)
    assert line.startswith(f"--config: {key}: '3' is not of type 'integer'")
    assert line.endswith("inside braces or brackets, --config makes text of every number; put 3 into a file")


def test_what_all_arms_are_laid_over_is_named_where_it_is_said(told):
    falls = "reduction: {step: -60, schedule: additive, iterations: 4}"
    assert told(f"seeds: [1]\n{falls}").startswith("my_0.yaml:2: arms.")
    own = "arms: {saliency: {step: -60, schedule: additive, iterations: 4}}"
    assert told(f"reduction: {{thresholds: [90]}}\n{own}").startswith("my_0.yaml:2: arms.saliency.step: the kept")


def test_a_folder_below_a_file_is_refused(told, tmp_path):
    (tmp_path / "notes").write_text("")
    line = told("pathvars: {results: notes/demo}")
    assert line == f"my_0.yaml:1: pathvars.results: 'notes/demo': {tmp_path}/notes is no folder"


@pytest.mark.parametrize("folder", ["{x}", "a<b"])
def test_a_checkout_below_a_folder_that_snakemake_takes_for_a_pattern_is_refused(checked, tmp_path, folder):
    for name in ("workflow/schemas", "config"):
        shutil.copytree(ROOT / name, tmp_path / folder / name)
    with pytest.raises(SystemExit) as refused:
        checked({}, checkout=tmp_path / folder)
    assert refused.value.code.startswith("config: the folder of this workflow: ")
    assert refused.value.code.endswith("a path must hold no <, >, brace or line break")


@pytest.mark.parametrize("arguments", [["--workflow-profile", "profiles/slrum"], ["--workflow-profile=slrum"]])
def test_a_profile_that_is_not_there_is_refused(snakemake, arguments):
    process = snakemake("--dry-run", *arguments)
    assert process.returncode == 1
    assert "config: --workflow-profile " in process.stderr
    assert re.search(r"there are .*default, slurm", process.stderr)


@pytest.mark.parametrize("name", ["slurm", "none", "here"])
def test_a_profile_that_is_there_is_accepted(started, monkeypatch, tmp_path, name):
    (tmp_path / "here").mkdir()
    monkeypatch.setattr("sys.argv", ["snakemake", "--workflow-profile", name])
    started("seeds: [1]")


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ({"source": "oxford_pet", "root": "nowhere"}, "dataset.root: 'nowhere' is no folder"),
        (
            {"split": {"method": "lists", "lists": dict.fromkeys(["train", "validation", "test"], "names.txt")}},
            "'names.txt' is no file",
        ),
    ],
)
def test_data_that_are_not_there_stop_the_plan(snakemake, overrides, line):
    process = snakemake("--dry-run", overrides={"dataset": overrides})
    assert process.returncode == 1
    (told,) = [each for each in process.stderr.splitlines() if each.startswith("config: ")]
    assert told.endswith(line)


def test_an_arm_is_not_called_as_a_folder_of_the_results(refusal):
    text = "\n".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    folders = set(re.findall(r"<results>/(\w+)[/\"]", text)) - {"dataset"}
    assert {"synthetic_pets", "figures", "predictions", "check"} <= folders
    for name in folders:
        assert refusal({"arms": {name: {}}}).startswith(f"arms: '{name}' should not be valid")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seeds: [1]\ntraining:\n\tepochs: 3\n", ":3: is no YAML: "),
        ("arms: {saliency: {}\nseeds: [1]\n", ":2: is no YAML: "),
    ],
)
def test_a_file_of_this_workflow_that_is_no_yaml_is_named_with_the_line(checked, tmp_path, text, line):
    for name in ("config", "profiles"):
        (tmp_path / name).mkdir()
    (tmp_path / "config/config.yaml").write_text(text)
    settings = SimpleNamespace(configfiles=[], config={})
    with pytest.raises(SystemExit) as refused:
        checked({}, checkout=tmp_path, is_main_process=True, config_settings=settings, workdir_init=str(ROOT))
    assert f"config/config.yaml{line}" in refused.value.code


def test_a_network_of_more_weights_than_a_job_has_memory_for_is_refused(told, started):
    assert "some 2,013 million weights" in told("model: {widths: [4096, 4096, 4096, 4096]}")
    started("model: {widths: [64, 128, 256, 512, 1024]}\ndataset: {image_size: 48}")


def test_the_same_key_in_two_files_is_no_mistake(started):
    started("seeds: [1]\nreport: {images: 3}\n", "seeds: [1, 2, 3]\n")


def test_a_file_of_json_is_no_mistake(started):
    text = json.dumps({"seeds": [1], "training": {"learning_rate": 0.001}}, indent="\t")
    with pytest.raises(yaml.YAMLError):
        yaml.safe_load(text)
    started(json.dumps({"seeds": [1]}))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "reduction: {thresholds: [0.9]}",
            "my_0.yaml:1: reduction.thresholds: warning: 0.9 keeps 0.9 % of the pixels; did you mean 90?",
        ),
        (
            "arms: {saliency: {thresholds: [4]}}",
            "my_0.yaml:1: arms.saliency.thresholds: warning: 4 keeps 4 % of the pixels",
        ),
        (
            "dataset: {split: {validation_share: 0.2}}",
            "my_0.yaml:1: dataset.split.validation_share: warning: 0.2 % of the images validates; 20 is a fifth",
        ),
        (
            "dataset: {split: {test_share: 0.5}}",
            "my_0.yaml:1: dataset.split.test_share: warning: 0.5 % of the images tests; 20 is a fifth",
        ),
        ("arms: {salliency: null}", "my_0.yaml:1: arms.salliency: warning: null leaves out what an earlier file names"),
    ],
)
def test_what_is_legal_and_hardly_meant_is_warned_of(started, capsys, text, line):
    started(text)
    assert line in capsys.readouterr().err


def test_what_is_at_the_bound_of_a_warning_is_not_warned_of(started, capsys):
    started("reduction: {thresholds: [5]}\ndataset: {split: {validation_share: 1, test_share: 1}}\n")
    assert "warning" not in capsys.readouterr().err


# A definition's words and numbers are bounded where they are used, names by what they must agree with.
BOUNDS = {
    "integer": {"maximum", "exclusiveMaximum"},
    "number": {"maximum", "exclusiveMaximum"},
    "string": {"maxLength"},
    "array": {"maxItems"},
}
AGREE = {"comparators.items", "controls.items", "class_names.items", "arm", "method", "class_group"}


def unbounded(schema, place):
    """Yield the places of a schema whose numbers, texts or lists have no upper bound."""
    for key, part in schema.items() if isinstance(schema, dict) else enumerate(schema):
        if isinstance(part, dict | list) and key not in ("if", "then", "else", "required", "enum"):
            yield from unbounded(part, f"{place}.{key}")
    if isinstance(schema, dict) and isinstance(schema.get("type"), str | list):
        kinds = {schema["type"]} if isinstance(schema["type"], str) else set(schema["type"])
        is_finite = bool({"enum", "const"} & {*schema, *schema.get("items", {})})
        if not is_finite and any(kind in kinds and not bounds & set(schema) for kind, bounds in BOUNDS.items()):
            yield place.replace(".properties", "")


def test_every_number_text_and_list_has_an_upper_bound():
    assert [place for place in unbounded(SCHEMA, "") if not place.endswith(tuple(AGREE))] == []
