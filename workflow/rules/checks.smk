"""How a configuration is refused: one line that names the key. No rules."""

import sys

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match


def refuse_unless(is_right, key, message):
    """Stop with one line that names the key; an exception would add the lines of this file that raised it."""
    if not is_right:
        sys.exit(f"config: {key}: {message}")


def check(instance, schema, key=""):
    """Stop with one line that names the key, where snakemake's own validate() prints the whole schema."""
    error = best_match(Draft202012Validator(schema).iter_errors(instance))
    if error:
        place = ".".join(filter(None, [key, *map(str, error.absolute_path)]))
        hint = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
        refuse_unless(False, place or "top level", f"{error.message} ({hint})" if hint else error.message)


def check_names(names, known, key):
    unknown = sorted(set(names) - set(known))
    refuse_unless(not unknown, key, f"unknown {unknown}; there are {sorted(known)}")


def check_path(path, key):
    """Refuse a path that Snakemake would take for a pattern; any other character is a character."""
    refuse_unless(not set(path) & set("<>{}\n"), key, f"{path!r}: a path must hold no <, >, brace or line break")
