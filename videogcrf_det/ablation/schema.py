"""The schema of a table file."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from videogcrf_det.errors import InputError

Opts = dict[str, Any]  # config key -> value

PLACEHOLDERS = ("output", "folder", "seed")
RESERVED = {"SEED": "seeds", "OUTPUT_DIR": "output"}  # config key -> what sets it instead
TABLE_KEYS: dict[str, Any] = {
    "title": str,
    "command": str,
    "dataset": str,
    "output": str,
    "columns": dict,
    "rows": list,
    "grid": dict,
    "seeds": list,
    "plot": str,
    "baseline": str,
    "config": str,
    "args": str,
    "opts": dict,
    "results": str,
}
REQUIRED = ("title", "command", "dataset", "output", "columns")
ROW_KEYS = {
    "name": (str, int),
    "command": str,
    "config": str,
    "args": str,
    "opts": dict,
    "results": str,
    "dataset": str,
    "seeds": list,
    "baseline": str,
    "paper": dict,
}


def check_keys(
    content: Any, where: str, known: Mapping[str, Any], required: Sequence[str] = ()
) -> None:
    """Raise InputError where something has unknown keys, values of the wrong kind, or lacks keys.

    Args:
        content: what was read.
        where: what to call it.
        known: key -> type of its values.
        required: the keys that it must have.
    """
    if not isinstance(content, dict):
        raise InputError(f"{where} is {content!r}, where keys and values are needed")
    for key, value in content.items():
        if key not in known:
            raise InputError(f"{where} has the unknown key {key!r}: there are {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, known[key]):
            kinds = {str: "a text", list: "a list", dict: "keys and values"}
            needed = kinds.get(known[key], "a text")
            raise InputError(f"{where} has {value!r} as {key}, where {needed} is needed")
    for key in required:
        if key not in content:
            raise InputError(f"{where} has no {key}: give it")


def fill(text: str, values: Mapping[str, Any]) -> str:
    """Put values in the place of the placeholders ``{output}``, ``{folder}`` and ``{seed}``."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise InputError(f"{text!r} has the unknown placeholder {match[0]}: there are {known}")
        return str(values[match[1]])

    return re.sub(r"\{(\w+)\}", value, text)


def check_opts(opts: Mapping[str, Any], where: str) -> None:
    """Raise InputError where keys are no texts, or a table sets what it derives itself."""
    for key in opts:
        if not isinstance(key, str):
            raise InputError(f"{where} sets {key!r}, where the key of a config is needed")
        if key in RESERVED:
            raise InputError(f"{where} sets {key}, which follows from {RESERVED[key]}: set that")
    for value in opts.values():
        if isinstance(value, str):
            fill(value, dict.fromkeys(PLACEHOLDERS, ""))


def beside(path: Path, name: str, kind: str) -> str:
    """A file that a table file names, which is meant relative to it."""
    found = os.path.normpath(path.parent / name)
    if not os.path.isfile(found):
        raise InputError(f"the {kind} {name} is not there ({found}): paths start at the table file")
    return found
