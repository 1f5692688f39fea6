"""Errors of the user's making, and the one sentence that names them."""

import importlib.util

DETECTRON2_HINT = (
    "detectron2 is not installed, so only videogcrf_det.gcrf works: run `make setup` in the "
    "project's folder, or `videogcrf install-detectron2`, or install it from its repository "
    "(docs/install.md)."
)


class InputError(ValueError):
    """Bad input: one sentence with what was wrong, the value, the file, and what to do about it."""


def has_detectron2() -> bool:
    """True if detectron2 can be imported, without importing it."""
    return importlib.util.find_spec("detectron2") is not None


def require_detectron2() -> None:
    """Raise ImportError with the sentence that says how to get detectron2, if it is missing."""
    if not has_detectron2():
        raise ImportError(DETECTRON2_HINT)
