"""Renders templates to HTML, and the filters of templates. Values are escaped unless they are Markup.

Unsafe characters, which HTML escaping leaves alone, are shown as escapes.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from app.sentences.escapes import escaped_json, escaped_lines

STATUS_GLYPHS: Final[Mapping[str, str]] = {  # no page shows purged jobs
    "Running": "▶",
    "Sleeping": "◔",
    "Failed": "✕",
    "Paused": "❚❚",
    "Completed": "✓",
    "Killed": "■",
}


def render(name: str, *, status: int = 200, **values: Any) -> web.Response:
    """Return a response with the template of this name, rendered with `values`."""
    text = _environment.get_template(name).render(values)
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8")


def time_element(value: datetime | None) -> Markup:
    """Return a timestamp as an HTML `time` element, in UTC to the second; a dash for None."""
    if value is None:
        return Markup('<span class="none">\N{EN DASH}</span>')
    utc = value.astimezone(UTC)
    exact = utc.isoformat().replace("+00:00", "Z")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(exact, exact, f"{utc:%Y-%m-%d %H:%M:%S} UTC")


def indented_json(value: Any) -> str:
    """Return a value as indented JSON."""
    return escaped_json(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def thousands(value: int) -> str:
    """Return a count with thousands separators, as in summaries and the log."""
    return f"{value:,}"


def byte_size(value: int) -> str:
    """Return a number of bytes in the largest decimal unit that keeps it at 1 or more (1 kB is 1,000 bytes)."""
    amount, units = float(value), ("B", "kB", "MB", "GB", "TB")
    for unit in units:
        if amount < 1000 or unit == units[-1]:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError  # the last unit always returns


def _finalized(value: Any) -> Any:
    """Return the value of an expression with unsafe characters escaped, before HTML escaping."""
    return escaped_lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value


_environment: Final = Environment(
    loader=PackageLoader("app.api.pages"),
    autoescape=True,
    finalize=_finalized,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {
    "time_element": time_element,
    "indented_json": indented_json,
    "thousands": thousands,
    "byte_size": byte_size,
}
_environment.globals |= {"STATUS_GLYPHS": STATUS_GLYPHS}
