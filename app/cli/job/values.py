"""What people type for a job's configuration, cadence and retry policy, as the API takes it. Asks nobody."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import orjson

from app.cli.param_types import seconds

_SPAN: Final = re.compile(r"(?:\d+[smhdw])+")
_CRON_FIELDS: Final = 5


def configuration(source: str | None, fields: Sequence[str]) -> dict[str, Any]:
    """Return a configuration: JSON or `@file`, with `key=text` and `key:=json` over it."""
    found = json_object(source, "--config") if source else {}
    for each in fields:
        key, equals, value = each.partition("=")
        if not equals or not key.removesuffix(":"):
            raise click.BadParameter(f"{each!r} is neither key=text nor key:=json")
        found[key.removesuffix(":")] = _json(value, each) if key.endswith(":") else value
    return found


def json_object(source: str, name: str) -> dict[str, Any]:
    """Return the JSON object in a text, or in the file behind an `@`."""
    text = source
    if source.startswith("@"):
        try:
            text = Path(source[1:]).read_text()
        except OSError as error:
            raise click.BadParameter(f"{source[1:]}: {error.strerror}", param_hint=name) from error
    found = _json(text, name)
    if not isinstance(found, dict):
        raise click.BadParameter("a JSON object is needed", param_hint=name)
    return found


def cadence(text: str | None, time_zone: str | None) -> dict[str, Any] | None:
    """Return a cadence: `once`, `continuous`, a length of time such as `15m`, or cron with five fields."""
    if text is None:
        return {"time_zone": time_zone} if time_zone else None
    zone = {"time_zone": time_zone} if time_zone else {}
    if text == "once":
        return {"kind": "once", **zone}
    if text == "continuous":
        return {"kind": "continuous", "every_seconds": 5, **zone}
    if _SPAN.fullmatch(text):
        return {"kind": "interval", "every_seconds": seconds(text), **zone}
    if len(text.split()) == _CRON_FIELDS:
        return {"kind": "cron", "cron": text, **zone}
    raise click.BadParameter(
        f"{text!r} is none: once, continuous, a length of time such as 15m or 1h30m, or cron such as '0 3 * * *'",
        param_hint="--cadence",
    )


def _json(text: str, where: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise click.BadParameter(f"{where}: not JSON: {error}") from error
