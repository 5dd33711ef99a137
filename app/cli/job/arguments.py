"""Arguments of job commands: a job reference, a configuration, a schedule."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import orjson

from app.cli.client import ApiClient
from app.cli.exits import NOT_FOUND, CommandError
from app.cli.output import local_time
from app.cli.param_types import DURATION_TEXT, seconds
from app.sentences.escapes import escaped
from connectors.redaction import has_credentials
from projections.jobs.state import VISIBLE_STATUSES

MIN_PREFIX_LENGTH: Final = 4
USAGE: Final = 2
EXPOSED: Final = (
    "Warning: credentials in arguments can be seen in the list of processes and the history of the shell; "
    "pass the configuration with --config @FILE, or with --config @- on standard input"
)
_CRON_FIELDS: Final = 5


async def job_by_reference(api: ApiClient, reference: str) -> dict[str, Any]:
    """Return the job of a reference; raise `CommandError` when none or several match."""
    candidates: list[dict[str, Any]] = await api.get("/v2/job", search=reference, status=VISIBLE_STATUSES, limit=1000)
    matches = [job for job in candidates if reference in {job["id"], job["name"]}]
    if not matches and len(reference) >= MIN_PREFIX_LENGTH:
        matches = [job for job in candidates if job["id"].startswith(reference)]
    if not matches:
        similar = "".join(f"\n  {job['id']}  {escaped(job['name'])}" for job in candidates[:5])
        raise CommandError(f"no job matches {reference!r}" + (f". Similar:{similar}" if similar else ""), NOT_FOUND)
    if len(matches) > 1:
        options = "".join(
            f"\n  {job['id']}  {escaped(job['name'])}, created {local_time(job['created_at'])}" for job in matches
        )
        raise CommandError(f"{reference!r} is ambiguous; use an id:{options}", USAGE)
    return matches[0]


def configuration(source: str | None, fields: Sequence[str]) -> dict[str, Any]:
    """Return a configuration: JSON, `@file` or `@-`, overridden by `key=text` and `key:=json`."""
    if any(has_credentials(argument) for argument in (source or "", *fields)):
        click.echo(EXPOSED, err=True)
    parsed = json_argument(source, "--config") if source else {}
    for field in fields:
        key, equals, value = field.partition("=")
        if not equals or not key.removesuffix(":"):
            raise click.BadParameter(f"invalid field {field!r}: expected key=text or key:=json")
        parsed[key.removesuffix(":")] = _json(value, field) if key.endswith(":") else value
    return parsed


def json_argument(source: str, name: str) -> dict[str, Any]:
    """Parse a JSON object from text, from `@file`, or from standard input: `@-`."""
    text = source
    if source == "@-":
        text = click.get_text_stream("stdin").read()
    elif source.startswith("@"):
        try:
            text = Path(source[1:]).read_text()
        except OSError as error:
            raise click.BadParameter(f"{source[1:]}: {error.strerror}", param_hint=name) from error
    parsed = _json(text, name)
    if not isinstance(parsed, dict):
        raise click.BadParameter("expected a JSON object", param_hint=name)
    return parsed


def cadence(text: str | None, time_zone: str | None) -> dict[str, Any] | None:
    """Parse a schedule: `once`, `continuous`, a duration such as `15m`, or cron with five fields."""
    if text is None:
        return {"time_zone": time_zone} if time_zone else None
    zone = {"time_zone": time_zone} if time_zone else {}
    if text == "once":
        return {"kind": "once", **zone}
    if text == "continuous":
        return {"kind": "continuous", "every_seconds": 5, **zone}
    if DURATION_TEXT.fullmatch(text):
        return {"kind": "interval", "every_seconds": seconds(text), **zone}
    if len(text.split()) == _CRON_FIELDS:
        return {"kind": "cron", "cron": text, **zone}
    raise click.BadParameter(
        f"invalid schedule {text!r}; expected once, continuous, a duration (15m) or a cron expression",
        param_hint="--cadence",
    )


def _json(text: str, where: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise click.BadParameter(f"{where}: invalid JSON: {error}") from error
