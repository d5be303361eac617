"""Code of the user's own: what a file or an installed package holds that the configuration names."""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from spatial_reduction.runtime.errors import InputError


@cache
def load_file(path: str) -> ModuleType:
    """Return the module that a file of Python holds, run once in a process.

    Raises:
        InputError: there is no such file, or it fails; names its line.
    """
    name = f"own_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or not Path(path).is_file():
        raise InputError(f"{path}: there is no such file of Python")
    module = importlib.util.module_from_spec(spec)
    with mistakes_told(path):
        sys.modules[name] = module  # dataclasses look there
        spec.loader.exec_module(module)
    return module


def load_object(path: str | None, name: str) -> Any:
    """Return what a file, or without one an installed `package:name`, calls by this name.

    Raises:
        InputError: there is no such thing.
    """
    if path is not None:
        module, where = load_file(path), path
    else:
        where, _, name = name.partition(":")
        with mistakes_told(where):
            module = importlib.import_module(where)
    try:
        return getattr(module, name)
    except AttributeError as error:
        raise InputError(f"{where}: holds nothing named {name!r}") from error


@contextmanager
def mistakes_told(what: str) -> Iterator[None]:
    """Turn what code of the user's raises into one line that names the place."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        reason = " ".join(str(error).split())
        raise InputError(f"{what}: {type(error).__name__}: {reason} ({last.filename}, line {last.lineno})") from error
