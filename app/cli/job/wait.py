"""`--wait` and `entrepot job wait`: follow a job until it ends, show its errors, and judge how it ended."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final

import click
from typing_extensions import override

from app.cli.client import ApiClient
from app.cli.exits import ERROR, RETRYING, TIMED_OUT, TOO_MANY_REJECTED, CommandError
from app.cli.job.arguments import DEFAULT_LIMIT, JOB, job_by_reference
from app.cli.output import local_time
from app.cli.param_types import DURATION, seconds
from app.cli.progress import bar
from app.cli.session import Session, api_command
from app.sentences.escapes import escaped

POLL_INTERVAL_SECONDS: Final = 0.3
ENDED: Final = frozenset({"Completed", "Failed", "Killed", "Paused"})
NOTABLE: Final = ("Error", "Sleeping", "Failed", "Queued")  # kinds of log lines to show while waiting
LOG_LINES: Final = 50
REJECT_EXAMPLES: Final = 3
_LIMIT: Final = re.compile(r"(\d{1,15})|(\d{1,3}(?:\.\d{1,6})?)%", re.ASCII)
JobJson = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RejectLimit:
    """How many records may be rejected: a number, a percentage of the records read, or by default not all of them."""

    count: int | None = None
    percent: float | None = None

    def is_exceeded(self, rejected: int, read: int) -> bool:
        """Whether too many of the records were rejected."""
        if self.count is not None:
            return rejected > self.count
        if self.percent is not None:
            return rejected * 100 > self.percent * read
        return 0 < read <= rejected


class RejectLimitParam(click.ParamType):
    """A number of records, or a percentage."""

    name = "limit"

    @override
    def convert(
        self, value: str | RejectLimit, param: click.Parameter | None, ctx: click.Context | None
    ) -> RejectLimit:
        """Parse a limit."""
        if isinstance(value, RejectLimit):
            return value
        match = _LIMIT.fullmatch(value)
        if match is None or float(match[2] or 0) > 100:
            self.fail(f"invalid limit {value!r}; expected a number of records, or a percentage such as 5%", param, ctx)
        return RejectLimit(int(match[1])) if match[1] else RejectLimit(percent=float(match[2]))


MAX_REJECTED: Final = click.option(
    "--max-rejected",
    metavar="N|P%",
    type=RejectLimitParam(),
    default=RejectLimit(),
    help=f"Exit code {TOO_MANY_REJECTED} when more records are rejected. Default: when all are.",
)
TIMEOUT: Final = click.option(
    "--timeout",
    "time_limit",
    metavar="DURATION",
    type=DURATION,
    callback=lambda _context, _param, duration: seconds(duration) if duration else None,
    help=f"Stop waiting after this duration, with exit code {TIMED_OUT}.",
)
RETRY: Final = click.option(
    "--retry", is_flag=True, help=f"Keep waiting through errors that are retried; otherwise exit code {RETRYING}."
)
WAIT: Final = click.option(
    "-w",
    "--wait",
    is_flag=True,
    help="Wait until the job, or its next scheduled run, has ended, and show each error; exit code 1 when it fails.",
)


@dataclass(frozen=True, slots=True)
class Wait:
    """How to wait for a job, and which result is a success."""

    max_rejected: RejectLimit = RejectLimit()
    timeout_seconds: int | None = None
    retry: bool = False


def with_wait_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--wait` and the options that need it; the command gets them as `wait`, None without `--wait`."""

    @wraps(command)
    def run(*, wait: bool, **arguments: Any) -> None:
        options = _wait_of(arguments)
        if not wait and options != Wait():
            raise click.UsageError("--timeout, --retry and --max-rejected require --wait")
        command(wait=options if wait else None, **arguments)

    decorated: Callable[..., None] = run
    for option in (MAX_REJECTED, RETRY, TIMEOUT, WAIT):
        decorated = option(decorated)
    return decorated


def _wait_of(arguments: dict[str, Any]) -> Wait:
    return Wait(arguments.pop("max_rejected"), arguments.pop("time_limit"), retry=arguments.pop("retry"))


def check_time_limit(time_limit: int | None, *, wait: bool) -> None:
    """Refuse `--timeout` without `--wait`.

    Raises:
        UsageError: a limit, and no wait.

    """
    if time_limit is not None and not wait:
        raise click.UsageError("--timeout requires --wait")


@asynccontextmanager
async def ended_within(time_limit: int | None, name: str, advice: str) -> AsyncIterator[None]:
    """Limit the wait for something with a name to seconds; None for no limit.

    Raises:
        CommandError: it has not ended in time; with the advice.

    """
    try:
        async with asyncio.timeout(time_limit):
            yield
    except TimeoutError as error:
        message = f"{name} has not ended within {time_limit} s, and continues; {advice}"
        raise CommandError(message, TIMED_OUT) from error


@click.command("wait")
@JOB
@TIMEOUT
@RETRY
@MAX_REJECTED
@api_command
async def job_wait(session: Session, job: str, **options: Any) -> int:
    """Wait until a JOB has ended, or has run and waits for its next scheduled run. Errors are shown as they occur.

    For a job that has not run yet, it waits for the end of the first run.
    """
    current = await job_by_reference(session.api, job)
    return await _wait_for_job(session, current, _wait_of(options), after_run=0)


def is_visible(job: Mapping[str, Any]) -> bool:
    """Whether a response has the job state; without it, the command is accepted but not processed yet."""
    return "status" in job


async def wait_for_run(session: Session, job: JobJson, wait: Wait | None) -> int:
    """Follow a job through the run that a command has started or scheduled; without `--wait` return 0 at once.

    Fails for a job that is not visible yet.
    """
    if wait is None:
        return 0
    if not is_visible(job):
        return ERROR
    return await _wait_for_job(session, job, wait, after_run=job["run"] if _is_scheduled(job) else 0)


async def _wait_for_job(session: Session, job: JobJson, wait: Wait, *, after_run: int) -> int:
    """Follow a job to its end, or through its first run after `after_run`, and return the exit code."""
    if _awaits_run(job, after_run):
        when = f" at {local_time(job['next_at'])}" if job["next_at"] else ""
        advice = f"waiting for the end of that run; to run it now: entrepot job run {job['id']}"
        click.echo(escaped(f"{job['name']} runs next{when}; {advice}"), err=True)
    again = f"to wait again: entrepot job wait {job['id']}"
    async with ended_within(wait.timeout_seconds, job["name"], again):
        with bar("waiting") as update:
            ended = await follow_job(
                session.api,
                job,
                lambda now: update(now["progress"]["bytes_read"], now["progress"]["bytes_total"], job_progress(now)),
                retry=wait.retry,
                after_run=after_run,
            )
    click.echo(escaped(f"{ended['status_label']}: {counts(ended)}"), err=session.output != "table")
    await _print_rejects(session.api, ended)
    return _verdict(ended, wait)


async def follow_job(
    api: ApiClient, job: JobJson, on_poll: Callable[[JobJson], None], *, retry: bool, after_run: int = 0
) -> JobJson:
    """Return a job once it is Completed, Failed, Killed, Paused, or sleeps between scheduled runs, after `after_run`.

    Errors and delays are printed as they come. Without `retry`, a job that sleeps for another reason is returned, too.
    """
    seq = job.get("seq", 0)
    while True:
        job = await api.get(f"/v2/job/{job['id']}")
        on_poll(job)
        if job["seq"] > seq:
            await _print_notable(api, job["id"], seq)
            seq = job["seq"]
        is_asleep = job["status"] == "Sleeping" and (_is_scheduled(job) or not retry)
        if job["status"] in ENDED or (is_asleep and not _awaits_run(job, after_run)):
            return job
        await asyncio.sleep(POLL_INTERVAL_SECONDS)


def _is_scheduled(job: JobJson) -> bool:
    return bool(job["status"] == "Sleeping" and job["reason"] == "cadence")


def _awaits_run(job: JobJson, after_run: int) -> bool:
    """Whether a job waits for its schedule, and has not run since the run `after_run`."""
    return _is_scheduled(job) and bool(job["run"] <= after_run)


async def _print_notable(api: ApiClient, job_id: str, after_seq: int) -> None:
    lines = await api.get(f"/v2/job/{job_id}/logs", kind=NOTABLE, limit=LOG_LINES)
    for line in reversed(lines):
        if line["seq"] > after_seq:
            detail = f" ({line['detail']})" if line["detail"] else ""
            click.echo(escaped(f"{local_time(line['at'])}  {line['message']}{detail}"), err=True)


def _verdict(job: JobJson, wait: Wait) -> int:
    """Return the exit code for the result of a job, and print why it is not 0."""
    counts = job["pass_counts"]
    if job["status"] == "Completed" or _is_scheduled(job):
        return TOO_MANY_REJECTED if wait.max_rejected.is_exceeded(counts["rejected"], counts["read"]) else 0
    click.echo(escaped(job["summary"]), err=True)
    if job["status"] == "Sleeping":
        click.echo(f"It continues at {local_time(job['sleep_until'])}; --retry keeps waiting.", err=True)
        return RETRYING
    return ERROR


async def _print_rejects(api: ApiClient, job: JobJson) -> None:
    """Print how many records of the latest sync were rejected, the reasons of the first, and where all of them are."""
    rejected, read = job["pass_counts"]["rejected"], job["pass_counts"]["read"]
    if rejected:
        letters: Sequence[Mapping[str, Any]] = ()
        try:
            starts = await api.get(f"/v2/job/{job['id']}/logs", kind="Started", limit=1)
            since = starts[0]["at"] if starts else None
            letters = await api.get("/v2/dead-letters", job_id=job["id"], since=since, limit=REJECT_EXAMPLES)
        except CommandError as error:  # such as a token that may not see records
            click.echo(escaped(f"cannot show rejected records: {error.message}"), err=True)
        for letter in letters:
            click.echo(escaped(f"{letter['source']}: {letter['position']}: {letter['reason']}"), err=True)
        print_reject_summary(rejected, read, job["id"] if letters else None)


def print_reject_summary(rejected: int, read: int, dead_letters_of: str | None) -> None:
    """Print how many records were rejected, and the command that lists them, if they are kept as dead letters."""
    limit = f" --limit {rejected}" if rejected > DEFAULT_LIMIT else ""
    command = f"; to list them: entrepot job dead-letters {dead_letters_of}{limit}" if dead_letters_of else ""
    click.echo(f"{rejected:,} of {read:,} records were rejected{command}", err=True)


def job_progress(job: JobJson) -> str:
    """Describe the progress of a running job in one line."""
    read, total = job["progress"]["bytes_read"], job["progress"]["bytes_total"]
    parts = [job["status"], f"{job['pass_counts']['read']:,} read in this sync"]
    if total and job["status"] == "Running":
        parts.append(f"{100 * read / total:.0f} %")
    if job["reason"]:
        parts.insert(1, job["reason"])
    return ", ".join(parts)


def counts(job: JobJson) -> str:
    """Return the total counts of a job in one line; omits `added` and `removed` when 0."""
    totals = job["total_counts"]
    names = ["read", "accepted", "rejected", "duplicate", "omitted"]
    names += [name for name in ("added", "removed") if totals[name]]
    return ", ".join(f"{totals[name]:,} {name}" for name in names) + " in total"
