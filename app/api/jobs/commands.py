"""Job commands: stamped, sent, and answered with the job or a problem."""

from typing import Any

from aiohttp import web

from app.api.http.headers import etag
from app.api.http.problems import ApiProblem, FieldError, invalid, not_found
from app.api.jobs.views import allowed, job_view, next_run_at
from app.api.routing.commands import Resource, command_response, submit
from app.api.routing.routes import RequestContext
from app.records.envelopes import stamp
from app.sentences.codes import ACTIONS
from app.sentences.sentence import sentence
from connectors.catalog import is_pushed
from projections.jobs.state import Completed, Failed, Job, Paused
from schemas.commands import JobCommand
from schemas.events import CommandRefused, JobEvent
from schemas.policies import Cadence


def job_envelope(call: RequestContext[Any, Any], job_id: str) -> dict[str, Any]:
    """Return the envelope of a command from this caller."""
    return stamp(job_id, f"user:{call.caller.name}", call.api.clock)


async def find_job(call: RequestContext[Any, Any], job_id: str) -> Job:
    """Return a job that is not purged.

    Raises:
        ApiProblem: 404.

    """
    job = await call.api.store.jobs.get(job_id)
    if job is None or job.status == "Purged":
        raise not_found("job", job_id)
    return job


def check_not_pushed(job: Job, action: str) -> None:
    """Make sure that an action is allowed on a job whose data comes with requests.

    Raises:
        ApiProblem: 409, the upload has to be repeated instead.

    """
    if is_pushed(job.provider, job.job_type) and action not in allowed(job):
        detail = (
            f"{action} is not allowed for an upload: its data comes from a request. "
            "To resume it, send the file again with the same Idempotency-Key"
        )
        raise ApiProblem(409, "pushed_job", detail, more={"allowed": allowed(job)})


async def send_job_command(call: RequestContext[Any, Any], command: JobCommand) -> Job | None:
    """Send a command and return the job after it; None when it is not visible within the time that the client waits.

    Raises:
        ApiProblem: the command was refused, or Kafka is unreachable.

    """
    events = await send_events(call, command)
    return await call.api.store.jobs.get(command.job_id) if events else None


async def send_events(call: RequestContext[Any, Any], command: JobCommand) -> tuple[JobEvent, ...]:
    """Send a command and return its events; none when they are not visible within the time that the client waits.

    Raises:
        ApiProblem: the command was refused, or Kafka is unreachable.

    """
    return await submit(call, command, job_refusal_problem) or ()


def job_response(
    call: RequestContext[Any, Any], job_id: str, job: Job | None, message: str, status: int = 200
) -> web.Response:
    """Return the job after a command."""
    resource = Resource(job_view(job), job.revision) if job else None
    return command_response(call, job_id, f"/v2/job/{job_id}", resource, message, status)


def next_run(job: Job | None) -> str:
    """Return when a job runs next, to append to a message; "" when it runs now or that is unknown."""
    at = next_run_at(job) if job else None
    return f"; next run at {at.isoformat().replace('+00:00', 'Z')}" if at else ""


def cadence_hint(job: Job, cadence: Cadence) -> str:
    """Return a hint when a changed cadence takes effect later; "" when it takes effect at once."""
    if cadence == job.cadence or cadence.kind == "once":
        return ""
    match job.phase:
        case Completed():
            return "; the job is Completed, so its schedule starts with its next run: use `run`"
        case Failed() | Paused():
            return f"; the job is {job.status}, so its schedule starts when it is resumed: use `resume`"
        case _:
            return ""


def job_refusal_problem(event: CommandRefused) -> ApiProblem:
    """Return the problem response for a refused command."""
    actions = [ACTIONS[command] for command in event.allowed if command in ACTIONS]
    detail = sentence(event.code, event.params)
    match event.code, event.params.get("pointer"):
        case "no_such_job", _:
            return not_found("job", event.job_id)
        case "revision_mismatch" as code, _:
            headers = etag(event.revision)
            return ApiProblem(412, code, detail, headers=headers, more={"changed": {}}, params=event.params)
        case "until_in_the_past" as code, _:
            return invalid([FieldError("?for", code, detail, event.params)])
        case code, str(pointer):
            return invalid([FieldError(pointer, code, detail, event.params)])
        case code, _:
            return ApiProblem(409, code, detail, more={"allowed": actions}, params=event.params)
