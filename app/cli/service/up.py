"""What `entrepot up` shows and when it ends. Starting and stopping is the supervisor's work."""

import asyncio
import signal
from contextlib import suppress
from datetime import datetime

import click

from app.auth import sign_in_link
from app.cli.client import connected
from app.cli.discovery import find
from app.cli.exits import Stopped
from app.cli.job.wait import counts, follow, says
from app.cli.progress import bar
from app.cli.service.example import FOLDER, create_example
from app.settings import Settings
from app.supervisor.supervisor import Supervisor, Up


async def run(settings: Settings, *, with_example: bool) -> int:
    """Start everything, say where it is, and stop it on SIGINT or SIGTERM; a second signal hurries."""
    # Always, so that the example job can also be run again after a start without it.
    supervisor = Supervisor(settings.model_copy(update={"file_roots": (*settings.file_roots, FOLDER)}), say)
    stopping = asyncio.create_task(_told_to_stop(supervisor).wait())
    _print(f"Entrepot starts in {settings.data_dir}")
    working = asyncio.create_task(_work(supervisor, with_example=with_example))
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            await stopping
    finally:
        if stopping.done() or supervisor.has_started_any:
            _print("\nstopping the roles, then the broker; Ctrl-C again hurries")
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
        await supervisor.stop()
    _print("stopped; the next start finds all data")
    return 0


async def _work(supervisor: Supervisor, *, with_example: bool) -> None:
    up = await supervisor.start()
    _print(
        f"ready after {up.seconds:.1f} s; a link to sign in, good once, for 15 minutes:\n\n"
        f"{sign_in_link(up.settings.data_dir, up.url)}\n\n"
        f"  API    {up.url}\n"
        f"  Kafka  {up.settings.bootstrap_servers}\n"
        f"  logs   {up.settings.data_dir / 'logs'}\n"
    )
    if with_example:
        await _example(up)
    _print("Ctrl-C stops everything")


async def _example(up: Up) -> None:
    try:
        async with connected(up.url, find(up.url, None, up.settings.data_dir).token) as api:
            job_id = await create_example(api)
            with bar("example") as update:
                job = await follow(
                    api,
                    job_id,
                    lambda each: update(each["progress"]["bytes_read"], each["progress"]["bytes_total"], says(each)),
                )
    except Stopped as error:
        _print(f"the example job can't be made: {error.message}", to_errors=True)
        return
    _print(f"the example job {job['name']!r} is {job['status']}:\n  {counts(job)}")


def _told_to_stop(supervisor: Supervisor) -> asyncio.Event:
    """Return what the first signal sets; the second one hurries."""
    stop = asyncio.Event()

    def told() -> None:
        if stop.is_set():
            supervisor.hurry()
        stop.set()

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN:  # ignored: it was started with nohup
            asyncio.get_running_loop().add_signal_handler(each, told)
    return stop


def say(line: str) -> None:
    """Print a line for a person, with the time of day and its zone."""
    _print(f"{datetime.now().astimezone():%H:%M:%S %Z} {line}", to_errors=True)


def _print(text: str, *, to_errors: bool = False) -> None:
    """Print, as long as someone reads: a terminal that was closed must not keep the roles from being stopped."""
    with suppress(OSError):
        click.echo(text, err=to_errors)
