"""Arguments of job commands: a job reference, a configuration, a schedule."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import orjson

from app.cli.client import ApiClient
from app.cli.exits import NOT_FOUND, CommandError
from app.cli.names import complete_jobs, did_you_mean
from app.cli.output import local_time
from app.sentences.escapes import escaped
from connectors.redaction import has_credentials
from projections.jobs.state import VISIBLE_STATUSES

MAX_CANDIDATES: Final = 20
MAX_SIMILAR: Final = 5
MAX_NAMES: Final = 1000
DEFAULT_LIMIT: Final = 50  # of log entries and dead letters
USAGE: Final = 2
EXPOSED: Final = (
    "Warning: credentials in arguments can be seen in the list of processes and the history of the shell; "
    "pass the configuration with --config @FILE, or with --config @- on standard input"
)
JOB: Final = click.argument("job", shell_complete=complete_jobs)
NO_VALIDATE: Final = click.option(
    "--no-validate",
    "validate",
    flag_value="false",
    help="Skip the check that the source exists and that its first records are readable.",
)


async def job_by_reference(api: ApiClient, reference: str) -> dict[str, Any]:
    """Return the job of a reference: its name, its id, or the beginning of its id, as short as it is unique.

    Raises:
        CommandError: none matches, or several.

    """
    matches: list[dict[str, Any]] = await api.get(
        "/v2/job", reference=reference, status=VISIBLE_STATUSES, limit=MAX_CANDIDATES
    )
    exact = [job for job in matches if reference in {job["id"], job["name"]}]
    named = [job for job in matches if job["name"].casefold() == reference.casefold()]
    matches = exact or named or matches
    if not matches:
        raise CommandError(f"no job matches {reference!r}" + await _similar(api, reference), NOT_FOUND)
    if len(matches) > 1:
        options = "".join(
            f"\n  {job['id']}  {escaped(job['name'])}, created {local_time(job['created_at'])}" for job in matches
        )
        raise CommandError(f"{reference!r} is ambiguous; use an id:{options}", USAGE)
    return matches[0]


async def _similar(api: ApiClient, reference: str) -> str:
    """Return the jobs that may be meant, to append to an error."""
    similar = await api.get("/v2/job", search=reference, status=VISIBLE_STATUSES, limit=MAX_SIMILAR)
    if similar:
        return ". Similar:" + "".join(f"\n  {job['id']}  {escaped(job['name'])}" for job in similar)
    jobs = await api.get("/v2/job", status=VISIBLE_STATUSES, limit=MAX_NAMES)
    return did_you_mean(reference, (job["name"] for job in jobs))


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


def _json(text: str, where: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise click.BadParameter(f"{where}: invalid JSON: {error}") from error
