"""Console output, signal handling and example job of `entrepot up`. The supervisor starts and stops the processes."""

import asyncio
import signal
import sys
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from app.cli.client import ApiClient, connected
from app.cli.discovery import find
from app.cli.exits import CommandError
from app.cli.job.wait import JobJson, counts, follow_job, job_progress
from app.cli.progress import bar
from app.sentences.escapes import escaped_lines
from app.settings import Settings
from app.supervisor.supervisor import RunningService, Supervisor
from app.tasks import cancel_all

FOLDER: Final = Path(__file__).resolve().parents[3] / "examples"
KEY: Final = "entrepot-example-flights-2013-01"
JOB: Final[dict[str, Any]] = {
    "provider": "file",
    "job_type": "import",
    "name": "Flights of New York",
    "description": "Flights that departed from New York on the first three days of 2013: sample data.",
    "configuration": {"source": "flights-2013-01.csv.gz", "stream": "flights", "timestamp_field": "time_hour"},
}


async def create_example(api: ApiClient) -> JobJson:
    """Create the example job, unless it exists, and return it."""
    job: JobJson = await api.send("POST", "/v2/job", JOB, headers={"Idempotency-Key": KEY})
    return job


async def run_service(settings: Settings, *, with_example: bool) -> int:
    """Start everything, print the addresses, and stop on SIGINT or SIGTERM; a second signal kills."""
    # Always, so that the example job can run again after a start without --with-example.
    supervisor = Supervisor(settings.model_copy(update={"file_roots": (*settings.file_roots, FOLDER)}), notify)
    stopping = asyncio.create_task(_shutdown_event(supervisor).wait())
    _print(f"Starting Entrepot (data directory: {settings.data_dir})")
    working = asyncio.create_task(_work(supervisor, with_example=with_example))
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            await stopping
    finally:
        if stopping.done() or supervisor.has_started_any:
            _print("\nStopping all roles, then the broker; press Ctrl-C again to force quit")
        await cancel_all(working, stopping)
        await supervisor.stop()
    _print("Stopped. All data is preserved.")
    return 0


async def _work(supervisor: Supervisor, *, with_example: bool) -> None:
    up = await supervisor.start()
    _print(
        f"Ready after {up.seconds:.1f} s. {await _sign_in_advice(up)}\n\n"
        f"  API    {up.url}\n"
        f"  Kafka  {up.settings.bootstrap_servers} (settings of clients: entrepot kafka-config)\n"
        f"  logs   {up.settings.data_dir / 'logs'}\n"
    )
    if with_example:
        await _example(up)
    _print("Press Ctrl-C to stop.")


async def _sign_in_advice(up: RunningService) -> str:
    """Return a sign-in link for a terminal; never for a log that others may read."""
    advice = "`entrepot sign-in` prints a sign-in link."
    if not sys.stdout.isatty():
        return advice
    try:
        async with _connected(up) as api:
            return f"One-time sign-in link, expires in 15 minutes:\n\n{await api.sign_in_link()}"
    except CommandError as error:
        return f"{advice} ({error.message})"


def _connected(up: RunningService) -> AbstractAsyncContextManager[ApiClient]:
    return connected(up.url, find(up.url, None, up.settings.data_dir).token)


async def _example(up: RunningService) -> None:
    try:
        async with _connected(up) as api:
            created = await create_example(api)
            with bar("example") as update:
                job = await follow_job(
                    api,
                    created,
                    lambda now: update(
                        now["progress"]["bytes_read"], now["progress"]["bytes_total"], job_progress(now)
                    ),
                    retry=False,
                )
    except CommandError as error:
        _print(f"cannot create the example job: {error.message}", to_errors=True)
        return
    _print(f"Example job {job['name']!r} is {job['status']}:\n  {counts(job)}")


def _shutdown_event(supervisor: Supervisor) -> asyncio.Event:
    """Return the event that the first signal sets; the second signal kills all processes."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            supervisor.kill_all()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # ignored under nohup
            asyncio.get_running_loop().add_signal_handler(number, on_signal)
    return stop


def notify(line: str) -> None:
    """Print a line with the local time and zone."""
    _print(f"{datetime.now().astimezone():%H:%M:%S %Z} {line}", to_errors=True)


def _print(text: str, *, to_errors: bool = False) -> None:
    """Print, ignoring errors: a closed terminal must not prevent the shutdown. Unsafe characters are escaped."""
    with suppress(OSError):
        click.echo(escaped_lines(text), err=to_errors)
