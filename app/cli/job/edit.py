"""`entrepot job create` and `edit`: create and change jobs from options and fields."""

from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import click

from app.cli.client import problem_text
from app.cli.exits import REFUSED, Stopped
from app.cli.job.actions import say_done
from app.cli.job.reference import find_job
from app.cli.job.values import cadence, configuration, json_object
from app.cli.job.wait import WAIT, is_visible, waited
from app.cli.session import Session, talks

CADENCE: Final = click.option(
    "--cadence",
    "cadence_text",
    metavar="WHEN",
    help="Schedule: once, continuous, a duration (15m) or a cron expression.",
)
TIME_ZONE: Final = click.option("--time-zone", help="Time zone of the schedule, such as Europe/Berlin.")
CONFIG: Final = click.option(
    "--config", "config", metavar="JSON|@FILE", help="Configuration as JSON, or @FILE to read it from a file."
)
FIELDS: Final = click.argument("fields", nargs=-1)


@click.command(short_help="Create a job.")
@click.option("--provider", required=True, help="Provider; see `entrepot provider list`.")
@click.option("--type", "job_type", default="import", show_default=True, help="Job type.")
@click.option("--name", required=True)
@click.option("--description", default="")
@CONFIG
@CADENCE
@TIME_ZONE
@click.option("--draft", is_flag=True, help="Create it paused and skip validation; `resume` starts it.")
@click.option("--idempotency-key", metavar="KEY", help="A repeated request with this key returns the same job.")
@WAIT
@FIELDS
@talks
async def create(
    session: Session,
    provider: str,
    job_type: str,
    name: str,
    description: str,
    config: str | None,
    cadence_text: str | None,
    time_zone: str | None,
    idempotency_key: str | None,
    fields: tuple[str, ...],
    *,
    draft: bool,
    wait: bool,
) -> int:
    """Create a job and start it. FIELDS set its configuration: key=text or key:=json.

    `entrepot provider show` lists the fields. The provider validates the configuration first, unless it is a draft.

    \b
    entrepot job create --provider file --name Flights source=flights.csv.gz stream=flights
    entrepot job create --provider file --name Contacts --config @contacts.json --cadence "0 3 * * *" --wait
    """  # noqa: D301  # to click a backspace is a paragraph that keeps its lines
    body: dict[str, Any] = {
        "provider": provider,
        "job_type": job_type,
        "name": name,
        "description": description,
        "configuration": configuration(config, fields),
    }
    if when := cadence(cadence_text, time_zone):
        body["cadence"] = when
    if not draft:
        await _validate(session, body)
    key = idempotency_key or str(uuid4())  # a retried request creates one job
    job = await session.api.send(
        "POST", "/v2/job", body, headers={"Idempotency-Key": key}, run_job="false" if draft else None
    )
    say_done(session, job)
    return await waited(session, job) if wait else 0


async def _validate(session: Session, body: dict[str, Any]) -> None:
    """Validate the configuration with the provider, to report errors now and not in the job's log."""
    draft = {name: body[name] for name in ("configuration", "cadence") if name in body}
    path = f"/v2/provider/{quote(body['provider'], safe='')}/{quote(body['job_type'], safe='')}/validate"
    verdict = await session.api.send("PUT", path, draft)
    if not verdict["valid"]:
        raise Stopped(problem_text(422, {"detail": "invalid configuration:", **verdict}), REFUSED)


@click.command(short_help="Change a job.")
@click.argument("job")
@click.option("--name")
@click.option("--description")
@CONFIG
@CADENCE
@TIME_ZONE
@click.option(
    "--cursor",
    metavar="JSON|@FILE",
    help="Overwrite the checkpoint (job must be paused); {} restarts from the beginning.",
)
@FIELDS
@talks
async def edit(
    session: Session,
    job: str,
    name: str | None,
    description: str | None,
    config: str | None,
    cadence_text: str | None,
    time_zone: str | None,
    cursor: str | None,
    fields: tuple[str, ...],
) -> None:
    """Change only the named properties of a JOB. FIELDS are key=text or key:=json; key:=null removes a field.

    --cursor replaces the whole checkpoint.

    Exit code 4 when the job was modified concurrently.
    """
    patch = {
        "name": name,
        "description": description,
        "configuration": configuration(config, fields) or None,
        "cadence": cadence(cadence_text, time_zone),
        "cursor": json_object(cursor, "--cursor") if cursor is not None else None,
    }
    wanted = {key: value for key, value in patch.items() if value is not None}
    if not wanted:
        raise click.UsageError("nothing to change: give an option or a field")
    found = await find_job(session.api, job)
    headers = {"If-Match": f'"{found["revision"]}"', "Content-Type": "application/merge-patch+json"}
    answer = await session.api.answer("PATCH", f"/v2/job/{found['id']}", wanted, headers=headers)
    after = answer["data"]
    say_done(session, found | after if is_visible(after) else after, answer.get("message", ""))
