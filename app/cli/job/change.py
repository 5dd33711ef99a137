"""`entrepot job create`, `edit`, `revert` and the actions: the commands that change a job."""

from typing import Any, Final
from uuid import uuid4

import click

from app.cli.client import api_path, problem_text
from app.cli.exits import REFUSED, CommandError
from app.cli.job.arguments import JOB, NO_VALIDATE, configuration, job_by_reference, json_argument
from app.cli.job.policies import with_policy_options
from app.cli.job.wait import Wait, is_visible, wait_for_run, with_wait_options
from app.cli.names import complete_fields, complete_job_types, complete_providers
from app.cli.output import local_time, serialized
from app.cli.param_types import DURATION
from app.cli.session import Session, api_command
from app.sentences.escapes import escaped

CONFIG: Final = click.option(
    "--config",
    "config",
    metavar="JSON|@FILE|@-",
    help="Configuration as JSON; @FILE reads it from a file, @- from standard input, so that no process list shows it.",
)
FIELDS: Final = click.argument("fields", nargs=-1, shell_complete=complete_fields)

RUN_NOW: Final = click.option("--run-now", is_flag=True, help="Run now, not at the next scheduled time.")


@click.command("create")
@click.option(
    "--provider",
    required=True,
    is_eager=True,
    shell_complete=complete_providers,
    help="Provider; see `entrepot provider list`.",
)
@click.option(
    "--type",
    "job_type",
    default="import",
    show_default=True,
    shell_complete=complete_job_types,
    help="Job type.",
)
@click.option("--name", required=True)
@click.option("--description", default="")
@CONFIG
@with_policy_options
@click.option("--draft", is_flag=True, help="Create it paused, and skip the provider's check; `resume` starts it.")
@RUN_NOW
@NO_VALIDATE
@click.option("--allow-duplicate-name", is_flag=True, help="Create it also if another job has the same name.")
@click.option(
    "--idempotency-key",
    metavar="KEY",
    default=lambda: str(uuid4()),
    help="A repeated request with this key returns the same job.",
)
@with_wait_options
@FIELDS
@api_command
async def job_create(
    session: Session,
    provider: str,
    job_type: str,
    name: str,
    description: str,
    config: str | None,
    idempotency_key: str,
    fields: tuple[str, ...],
    validate: str | None,
    *,
    policies: dict[str, Any],
    draft: bool,
    run_now: bool,
    allow_duplicate_name: bool,
    wait: Wait | None,
) -> int:
    """Create a job and start it. FIELDS set its configuration: key=text or key:=json.

    `entrepot provider show` lists the fields. The provider checks the configuration first, unless it is a draft.

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
        **policies,
    }
    if not (draft or validate):
        await _validate(session, body)
    query = {"allow_duplicate_name": "true" if allow_duplicate_name else None, "validate": "false"}
    query |= {"run_job": "false"} if draft else {"run_now": "true" if run_now else None}
    job = await session.api.send("POST", "/v2/job", body, headers={"Idempotency-Key": idempotency_key}, **query)
    print_job(session, job)
    return await wait_for_run(session, job, wait)


async def _validate(session: Session, body: dict[str, Any]) -> None:
    """Validate the configuration with the provider, to report errors now and not in the job's log.

    The creation itself skips the check, so that the provider reads its source once.
    """
    draft = {name: body[name] for name in ("configuration", "cadence") if name in body}
    path = api_path("/v2/provider", body["provider"], body["job_type"], "validate")
    verdict = await session.api.send("PUT", path, draft)
    if not verdict["valid"]:
        raise CommandError(problem_text(422, {"detail": "invalid configuration:", **verdict}), REFUSED)


@click.command("edit")
@JOB
@click.option("--name")
@click.option("--description")
@CONFIG
@with_policy_options
@click.option(
    "--cursor",
    metavar="JSON|@FILE",
    help="Replace the whole cursor (job must be paused); {} restarts from the beginning.",
)
@NO_VALIDATE
@FIELDS
@api_command
async def job_edit(
    session: Session,
    job: str,
    name: str | None,
    description: str | None,
    config: str | None,
    cursor: str | None,
    validate: str | None,
    fields: tuple[str, ...],
    policies: dict[str, Any],
) -> None:
    """Change only the named properties of a JOB. FIELDS are key=text or key:=json; key:=null removes a field.

    Exit code 4 when the job was modified concurrently.
    """
    patch = {
        "name": name,
        "description": description,
        "configuration": configuration(config, fields) or None,
        **policies,
        "cursor": json_argument(cursor, "--cursor") if cursor is not None else None,
    }
    wanted = {key: value for key, value in patch.items() if value is not None}
    if not wanted:
        raise click.UsageError("nothing to change: give an option or a field")
    before = await job_by_reference(session.api, job)
    headers = {"If-Match": f'"{before["revision"]}"', "Content-Type": "application/merge-patch+json"}
    query = {"validate": validate}
    response = await session.api.request("PATCH", f"/v2/job/{before['id']}", wanted, query=query, headers=headers)
    after = response["data"]
    print_job(session, before | after if is_visible(after) else after, response.get("message", ""))


@click.command("pause")
@JOB
@click.option(
    "--for", "duration", metavar="DURATION", type=DURATION, help="Resume after this duration: 90s, 15m, 1h30m, 2d."
)
@api_command
async def job_pause(session: Session, job: str, duration: str | None) -> None:
    """Pause a JOB at the next record, for a duration or until it is resumed."""
    await _act(session, job, "pause", for_=duration)


@click.command("resume")
@JOB
@RUN_NOW
@with_wait_options
@api_command
async def job_resume(session: Session, job: str, *, run_now: bool, wait: Wait | None) -> int:
    """Resume a JOB after a pause or a failure."""
    after = await _act(session, job, "resume", run_now="true" if run_now else None)
    return await wait_for_run(session, after, wait)


@click.command("run")
@JOB
@with_wait_options
@api_command
async def job_run(session: Session, job: str, *, wait: Wait | None) -> int:
    """Run a JOB now instead of at its scheduled time, or again after it completed."""
    after = await _act(session, job, "run")
    return await wait_for_run(session, after, wait)


@click.command("kill")
@JOB
@api_command
async def job_kill(session: Session, job: str) -> None:
    """Delete (archive) a JOB: it stops, and can be restored for 90 days."""
    await _act(session, job, "kill")


@click.command("restore")
@JOB
@api_command
async def job_restore(session: Session, job: str) -> None:
    """Restore a deleted JOB. It is paused until it is resumed."""
    await _act(session, job, "restore")


@click.command("revert")
@JOB
@click.argument("version", type=int)
@NO_VALIDATE
@api_command
async def job_revert(session: Session, job: str, version: int, validate: str | None) -> None:
    """Revert a JOB to VERSION of its configuration, schedule and retry policy, as a new version."""
    before = await job_by_reference(session.api, job)
    path = f"/v2/job/{before['id']}/revert/{version}"
    response = await session.api.request("POST", path, query={"validate": validate})
    print_job(session, before | response["data"], response["message"])


async def _act(session: Session, job: str, action: str, **query: str | None) -> dict[str, Any]:
    before = await job_by_reference(session.api, job)
    after: dict[str, Any] = await session.api.send("POST", f"/v2/job/{before['id']}/{action}", headers=None, **query)
    now = before | after if is_visible(after) else after
    print_job(session, now)
    return now


def print_job(session: Session, job: dict[str, Any], message: str = "") -> None:
    """Print the state of a job after a change, and the message of the API."""
    if session.output == "table" and not is_visible(job):
        click.echo(escaped(f"accepted; not visible yet, check with: entrepot job show {job['id']}"))
    elif session.output == "table":
        reason = f", {job['reason']}" if job["reason"] else ""
        label = " until " if job["status"] == "Paused" else "; next run: "
        following = f"{label}{local_time(job['next_at'])}" if job["next_at"] else ""
        click.echo(escaped(f"{job['id']}  {job['name']}: {job['status_label']}{reason}{following}"))
        if message:
            click.echo(escaped(message))
    else:
        click.echo(serialized(job, session.output))
