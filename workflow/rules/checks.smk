"""How a configuration is refused: one line that names file, line, key and value. No rules."""

import math
import os
import sys
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from jsonschema.validators import extend

PLACES = {}  # {key: "file:line" that says it}
RENAMED = {"T1": "intact", "T2": "self_masked", "T3": "label_masked"}
LONGEST = 200  # characters of a value in a message


def is_whole(checker, value):
    """Tell a whole number: 3.0 is none, nor is true."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(checker, value):
    """Tell a number: NaN and infinity compare with nothing, so every bound would let them pass."""
    return is_whole(checker, value) or (isinstance(value, float) and math.isfinite(value))


Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many({"integer": is_whole, "number": is_number}),
)


def places_of(key):
    """Yield where a key may be said, the nearest first: itself, what an arm's is laid over, the section around it."""
    parts = key.split(".")
    if parts[0] == "arms" and len(parts) > 2:
        _, arm, *own = parts
        below = own if own[0] in ("model", "training") else ["reduction", *own]
        for depth in range(len(own), 0, -1):
            yield ".".join(["arms", arm, *own[:depth]])
            yield ".".join(below[: len(below) - len(own) + depth])
    yield from (".".join(parts[:depth]) for depth in range(len(parts), 0, -1))


def located(key, message):
    """Return the line about a key, with the place that says it."""
    place = next(filter(None, map(PLACES.get, places_of(key))), None)
    return ": ".join(filter(None, ["config", place, key, message]))


def refuse_unless(is_right, key, message):
    """Stop with one line that names the key; an exception would add the lines of this file that raised it."""
    if not is_right:
        sys.exit(located(key, message))


def warn(key, message):
    """Say once, when a run begins, that a value is legal and probably not what was meant."""
    if workflow.is_main_process:
        print(located(key, f"warning: {message}"), file=sys.stderr)


def short(value):
    """Return a value as it is printed."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 4 :]}"


def is_branch(error):
    """Return whether an error is about one of the ways to write a value, of which another may be what was meant."""
    return error.parent is not None and error.parent.validator == "anyOf" and not error.relative_path


def choices(error):
    """Return the words that may stand in the place of a value, those of other ways to write it too."""
    ways = error.parent if is_branch(error) else error
    schemas = [error.schema, *(ways.validator_value if ways.validator == "anyOf" else [])]
    words = [word for schema in schemas for word in [*schema.get("enum", []), schema.get("const")]]
    return list(dict.fromkeys(word for word in words if isinstance(word, str)))


def way_out(error, key):
    """Say what to write instead of a value, where that is known."""
    value, wanted = error.instance, error.validator_value
    if error.validator == "additionalProperties" and isinstance(value, dict):
        known = list(error.schema.get("properties", {}))
        close = [near for name in value if name not in known for near in get_close_matches(str(name), known, 1)]
        dotted = [name for name in map(str, value) if "." in name]
        if dotted:
            return "write sections inside each other: {a: {b: c}}, not a.b: c"
        return f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(known)}"
    if error.validator == "type" and {"number", "integer"} & set([wanted] if isinstance(wanted, str) else wanted):
        if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
            return f"write {int(value)}"
        if isinstance(value, str):
            return text_as_number(value, key)
    old = [
        name for name in (value if isinstance(value, list) else [value]) if isinstance(name, str) and name in RENAMED
    ]
    if old or not isinstance(value, str):
        return "; ".join(f"{name} is now called {RENAMED[name]}" for name in old)
    return "".join(f"did you mean {near}?" for near in get_close_matches(value, choices(error), 1))


def text_as_number(text, key):
    """Say how to write a number that was read as text."""
    try:
        plain = format(Decimal(text), "f")
    except (InvalidOperation, ValueError):
        return ""
    if PLACES.get(key) == "--config":
        return f"inside braces or brackets, --config makes text of every number; put {plain} into a file"
    return f"YAML reads this as text: write {plain}"


def explain(error, key):
    """Return what is wrong with a value, what the key means, and the way out."""
    message = error.message.replace(repr(error.instance), short(error.instance))
    if error.validator == "contains" and "const" in error.validator_value:
        message = f"{short(error.instance)} must hold {error.validator_value['const']}"
    if error.validator in ("pattern", "anyOf"):  # a regular expression tells nobody what is meant: the description does
        message = f"{short(error.instance)} is not allowed"
    schema = error.schema
    if isinstance(error.instance, str) and is_branch(error) and choices(error):
        message, schema = f"{short(error.instance)} is not one of {choices(error)}", error.parent.schema
    meaning = schema.get("description", "") if isinstance(schema, dict) else ""
    return "; ".join(filter(None, [f"{message} ({meaning})" if meaning else message, way_out(error, key)]))


def refuse_missing_root(source):
    """Stop where no file names the folder of the pictures. The files of this workflow cannot: say where the user can."""
    files = [shown(str(path)) for path in workflow.config_settings.configfiles] if workflow.is_main_process else []
    file, _, line = PLACES.get("dataset.root", "").rpartition(":")
    own = f"{file}:{line}" if file in files else files[-1] if files else ""
    into = f"write it into {own} (dataset: {{root: path/to/folder}}), or add" if own else "add"
    what = f"names no folder, and source {source} reads the pictures of one"
    sys.exit(f'config: dataset.root: {what}; {into} --config "dataset={{root: path/to/folder}}"')


def check(instance, schema, key=""):
    """Stop with one line that names the key, where snakemake's own validate() prints the whole schema."""
    error = best_match(Validator(schema).iter_errors(instance))
    if error:
        place = ".".join(filter(None, [key, *map(str, error.absolute_path)]))
        if place == "dataset.root" and error.instance is None:
            refuse_missing_root(instance["dataset"]["source"])
        unknown = (
            error.instance.keys() - error.schema["properties"] if error.validator == "additionalProperties" else []
        )
        line = next((PLACES[name] for name in map(str, sorted(unknown, key=str)) if not place and name in PLACES), None)
        refuse_unless(False, f"{line}: top level" if line else place or "top level", explain(error, place))


def check_names(names, known, key):
    unknown = sorted(set(names) - set(known), key=str)
    refuse_unless(not unknown, key, f"unknown {unknown}; there are {sorted(known)}")


def check_class_names(classes, named):
    """Refuse names of classes that there are not, those of all keys in one line: {key: names, or None}."""
    unknown = {key: sorted(set(names or ()) - set(classes)) for key, names in named.items()}
    if sum(map(bool, unknown.values())) == 1:
        for key, names in named.items():
            check_names(names or (), classes, key)
    wrong = [located(key, ", ".join(names)).removeprefix("config: ") for key, names in unknown.items() if names]
    refuse_unless(not wrong, "dataset.classes", f"has {', '.join(classes)}, but these name others: {'; '.join(wrong)}")


def check_thresholds(values, key):
    """Refuse thresholds that names of files do not spell out, so that two could share theirs; warn of shares from 0 to 1."""
    for value in values:
        refuse_unless(float(f"{value:.10g}") == value, key, f"{value!r} has more than 10 digits")
        if value < 5:
            warn(
                key,
                f"{value:g} keeps {value:g} % of the pixels"
                + (f"; did you mean {100 * value:g}?" if value < 1 else ""),
            )


def check_path(path, key):
    """Refuse a path that Snakemake would take for a pattern; any other character is a character."""
    refuse_unless(not set(path) & set("<>{}\n"), key, f"{path!r}: a path must hold no <, >, brace or line break")


def existing_part(path):
    """Return the longest part of a path that exists."""
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def check_folder(path, key):
    """Refuse a folder that lies below a file; Snakemake would stop with a traceback."""
    above = existing_part(path)
    refuse_unless(os.path.isdir(above), key, f"{path!r}: {above} is no folder")


def refuse_closed_folders():
    """Stop if a folder of `pathvars` that is written cannot be; Snakemake would stop with a traceback. A plan writes none."""
    if not workflow.is_main_process or workflow.output_settings.dryrun:
        return
    for key in ("results", "logs", "benchmarks"):
        folder = existing_part(config["pathvars"][key])
        refuse_unless(os.access(folder, os.W_OK), f"pathvars.{key}", f"{folder} cannot be written")


def refuse_foreign_library():
    """Stop if Python finds another library of this name before that of this workflow: jobs would import it in silence."""
    for folder in sys.path:
        found = os.path.join(folder, "spatial_reduction")
        is_own = os.path.realpath(found) == os.path.realpath(checkout("scripts/spatial_reduction"))
        is_foreign = not is_own and (
            os.path.exists(f"{found}.py") or os.path.isfile(os.path.join(found, "__init__.py"))
        )
        what = f"{found} would replace the library of this workflow; take its folder off PYTHONPATH, or uninstall it"
        refuse_unless(not is_foreign, "spatial_reduction", what)
