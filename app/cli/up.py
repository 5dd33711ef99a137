"""What `entrepot up` shows and when it ends. Starting and stopping is the supervisor's work."""

import asyncio
import signal
from datetime import datetime

import click

from app.settings import Settings
from app.supervisor import Supervisor, Up


async def run(settings: Settings) -> int:
    """Start everything, say where it is, and stop it on SIGINT or SIGTERM; a second signal hurries."""
    supervisor = Supervisor(settings, say)
    stopping = asyncio.create_task(_told_to_stop(supervisor).wait())
    click.echo(f"Entrepot starts in {settings.data_dir}")
    working = asyncio.create_task(_work(supervisor))
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            await stopping
    finally:
        click.echo("\nstopping the roles, then the broker; Ctrl-C again hurries")
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
        await supervisor.stop()
    click.echo("stopped; the next start finds all data")
    return 0


async def _work(supervisor: Supervisor) -> None:
    up = await supervisor.start()
    _announce(up)
    if with_example:
        await follow_example(up, say)


def _announce(up: Up) -> None:
    click.echo(f"ready after {up.seconds:.1f} s: {up.url}")


def _told_to_stop(supervisor: Supervisor) -> asyncio.Event:
    """Return what the first signal sets; the second one hurries."""
    stop = asyncio.Event()

    def told() -> None:
        if stop.is_set():
            supervisor.hurry()
        stop.set()

    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, told)
    return stop


def say(line: str) -> None:
    """Print a line with the time of day, on one line however many it has."""
    click.echo(f"{datetime.now().astimezone():%H:%M:%S} {line}", err=True)
