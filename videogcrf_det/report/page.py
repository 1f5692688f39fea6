"""Pages as HTML that load nothing but the pictures and videos beside them."""

import shlex
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined


def render_page(template: str, **content: Any) -> str:
    """A page from one of ``templates/``.

    Args:
        template: the name of the file.
        content: its variables; ``title`` is one of them.
    """
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        loader=PackageLoader("videogcrf_det.report"),
    )
    environment.filters |= {
        "percent": percent,
        "signed": signed,
        "direction": direction,
        "url": quote,
        "shell": shlex.join,
    }
    return environment.get_template(template).render(**content)


def percent(value: float | None) -> str:
    """With one digit after the point, and counts as they are; a dash for what is undefined."""
    if isinstance(value, int):
        return str(value)
    return "\N{EN DASH}" if value is None else f"{value:.1f}"


def signed(value: float | None) -> str:
    """The same with a sign, for differences."""
    if value is None or round(value, 1) == 0:
        return percent(value).removeprefix("-")
    text = f"{value:+d}" if isinstance(value, int) else f"{value:+.1f}"
    return text.replace("-", "\N{MINUS SIGN}")


def direction(value: float | None, less_is_better: bool = False) -> str:
    """The name of the style of a difference, for the better or the worse."""
    rounded = 0 if value is None else round(value, 1) * (-1 if less_is_better else 1)
    return "better" if rounded > 0 else "worse" if rounded < 0 else ""
