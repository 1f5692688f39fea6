"""Random fields by the name of their pairwise terms."""

import inspect
from typing import Any

from videogcrf_det.gcrf.averaging_field import AveragingField
from videogcrf_det.gcrf.field import RandomField
from videogcrf_det.gcrf.product_field import ProductField

FIELDS: dict[str, type[Any]] = {"product": ProductField, "average": AveragingField}


def build_field(name: str, in_channels: int, **options: Any) -> RandomField:
    """Make a random field.

    Args:
        name: one of FIELDS.
        in_channels: channels C of the features that make the embeddings.
        options: keyword arguments of that class.

    Raises:
        ValueError: there is no such field, it has no such option, or an option no such value.
    """
    if name == "difference":
        raise ValueError("pairwise 'difference' is now called 'average': write that")
    if name not in FIELDS:
        raise ValueError(f"unknown pairwise {name!r}: use one of {', '.join(FIELDS)}")
    field = FIELDS[name]
    known = [
        parameter.name
        for base in field.__mro__
        for parameter in inspect.signature(base).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise ValueError(
            f"pairwise {name!r} has no option {', '.join(unknown)}: it has {', '.join(known)}"
        )
    made: RandomField = field(in_channels, **options)
    return made
