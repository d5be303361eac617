"""Which line of which file says a key, and what YAML reads otherwise than it is written. No rules."""

import argparse
import os
import re
import sys

import yaml

# YAML 1.1 reads 1:30 as 90 and 010 as 8: nothing in the result tells.
MISREAD = {
    "minutes and seconds": re.compile(r"[+-]?\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?"),
    "a number to base 8": re.compile(r"[+-]?0[0-7_]+"),
}
TAG = "tag:yaml.org,2002:"
LEAVES_OUT = ("arms", "evaluation.class_groups")  # where null leaves out what an earlier file names
DEFAULTS = os.path.join(CHECKOUT, "config/config.yaml")


def own_configuration():
    """Return config/config.yaml of the folder where snakemake runs, which lies over the defaults; None: it is the same, or none."""
    path = "config/config.yaml"
    return path if os.path.isfile(path) and not os.path.samefile(path, DEFAULTS) else None


OWN = own_configuration()


def shown(path):
    """Return a path as it is printed: from the working directory, if it lies below."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def compose(path):
    """Return the tree of a YAML file, with the lines of all that it says."""
    with open(path, encoding="utf-8") as file:
        try:
            return yaml.compose(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.MarkedYAMLError as error:
            # Snakemake has read what the command line names, so that is JSON, which may hold tabs.
            if path == DEFAULTS:
                refuse_unless(False, f"{shown(path)}:{error.problem_mark.line + 1}", f"is no YAML: {error.problem}")


def entries(node, section, passed):
    """Yield (name, node of the key, node of the value, section) of all keys and items below a node, once each."""
    if id(node) in passed or not isinstance(node, yaml.CollectionNode):
        return
    passed.add(id(node))  # an alias may lead back
    items = node.value if isinstance(node, yaml.MappingNode) else [(None, item) for item in node.value]
    for index, (key, value) in enumerate(items):
        name = ".".join(filter(None, [section, str(index) if key is None else str(key.value)]))
        yield name, key, value, section
        yield from entries(value, name, passed)


def read_places(path):
    """Note in PLACES where a file says each key; refuse what it says twice, or YAML reads otherwise."""
    own = {}
    for name, key, value, section in entries(compose(path), "", set()):
        place = f"{shown(path)}:{(key or value).start_mark.line + 1}"
        refuse_unless(name not in own, f"{place}: {name}", f"stands twice in this file, first in line {own.get(name)}")
        own[name] = (key or value).start_mark.line + 1
        if key:
            read_as = key.tag.removeprefix(TAG)
            refuse_unless(
                read_as in ("str", "merge"),
                f"{place}: {name}",
                f"YAML reads the name {key.value} as {read_as}; put it in quotes, or choose another",
            )
            empty = section in LEAVES_OUT and value.value == "" and value.tag == f"{TAG}null"
            refuse_unless(
                not empty, f"{place}: {name}", "has no settings: write {} for the defaults, null to leave it out"
            )
            if section in LEAVES_OUT and value.tag == f"{TAG}null" and name not in PLACES:
                warn(f"{place}: {name}", "null leaves out what an earlier file names; none names this")
        for reading, pattern in MISREAD.items():
            is_misread = value.tag in (f"{TAG}int", f"{TAG}float") and pattern.fullmatch(value.value)
            refuse_unless(
                not is_misread, f"{place}: {name}", f"YAML reads {value.value} as {reading}; write it as one number"
            )
        PLACES[name] = place
    return set(own)


def read_named(settings, section=""):
    """Note in PLACES what `--config` says, the items of its lists too."""
    for key, value in settings.items() if isinstance(settings, dict) else enumerate(settings):
        name = f"{section}.{key}" if section else str(key)
        PLACES[name] = "--config"
        if isinstance(value, (dict, list)):
            read_named(value, name)


def refuse_unknown_profile(arguments):
    """Refuse a `--workflow-profile` that is not there: Snakemake would use none, and run everything on this machine."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--workflow-profile", default="none")
    name = parser.parse_known_args(arguments)[0].workflow_profile
    own = os.path.join(CHECKOUT, "profiles")
    places = [os.path.join(workflow.workdir_init, folder, name) for folder in ("", "profiles", own)]
    known = sorted(entry.name for entry in os.scandir(own) if entry.is_dir())
    refuse_unless(
        name == "none" or any(map(os.path.exists, places)),
        f"--workflow-profile {name}",
        f"there is no such profile, and Snakemake would run all jobs on this machine; there are {', '.join(known)}",
    )


def refuse_base_over_overlay(files, said):
    """Refuse a file that describes the data after others that do not: it would replace what they are named for."""
    describes = ["dataset.source" in said[path] for path in files]
    base = describes.index(True) if any(describes) else 0
    replaced = [path for path in files[:base] if said[path] & said[files[base]]]
    what = f"describes the data; name it before {', '.join(map(shown, replaced))}, whose settings it would replace"
    refuse_unless(not replaced, shown(files[base]) if files else "", what)


# Later files over earlier ones. The jobs of a run read what was checked when it began.
if workflow.is_main_process and not IS_MODULE:
    refuse_unknown_profile(sys.argv[1:])
    named = [str(path) for path in workflow.config_settings.configfiles]
    below = [DEFAULTS, *([OWN] if OWN else [])]
    said = {path: read_places(path) for path in [*below, *named]}
    refuse_base_over_overlay(named, said)
    read_named(workflow.config_settings.config)
    print(f"configuration: {', '.join(map(shown, said))}", file=sys.stderr)
