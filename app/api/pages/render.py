"""Renders templates to HTML; everything is escaped by default."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

GLYPHS: Final[Mapping[str, str]] = {
    "Running": "▶",
    "Sleeping": "◔",
    "Failed": "✕",
    "Paused": "❚❚",
    "Completed": "✓",
    "Killed": "■",
}


def render(name: str, *, status: int = 200, **values: Any) -> web.Response:
    """Return a rendered template."""
    text = _environment.get_template(name).render(values)
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8")


def moment(value: datetime | None) -> Markup:
    """Return a timestamp as a `time` element, in UTC; a dash for None."""
    if value is None:
        return Markup('<span class="none">\N{EN DASH}</span>')
    utc = value.astimezone(UTC)
    exact = utc.isoformat().replace("+00:00", "Z")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(exact, exact, f"{utc:%Y-%m-%d %H:%M:%S} UTC")


def pretty(value: Any) -> str:
    """Return indented JSON."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def grouped(value: int) -> str:
    """Return a count with thousands separators, as in summaries and the log."""
    return f"{value:,}"


def size(value: int) -> str:
    """Return a number of bytes in a suitable unit."""
    amount, units = float(value), ("B", "kB", "MB", "GB", "TB")
    for unit in units:
        if amount < 1000 or unit == units[-1]:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError


_environment: Final = Environment(
    loader=PackageLoader("app.api.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {
    "moment": moment,
    "pretty": pretty,
    "grouped": grouped,
    "size": size,
}
_environment.globals |= {"GLYPHS": GLYPHS}
