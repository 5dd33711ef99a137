"""`up`, `worker` and `api`: Entrepot itself, whole or one role of it."""

import asyncio
import logging
import os
from pathlib import Path

import click

from app.cli import exits
from app.cli.service.settings_errors import load_settings
from app.data_dir import InUseError, only_one, with_kafka
from app.logs import configure_logs
from app.roles import ROLES, Role, role_named, run_role
from app.settings import Settings
from app.supervisor.parent_death import end_with
from app.supervisor.preflight import (
    PATIENCE_SECONDS,
    check_address,
    check_file_roots,
    check_store,
    store_trouble,
    wait_for_kafka,
)
from app.supervisor.restarts import NotStartedError

_log = logging.getLogger(__name__)


@click.command(short_help="Start the broker and every role.")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where everything is kept.")
@click.option("--port", type=click.IntRange(0, 65535), help="Of the API and the pages; 0: any free one.")
@click.option(
    "--files",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A directory that file jobs may read; may be repeated.",
)
@click.option("--with-example", is_flag=True, help="Import some flights, once, to have something to look at.")
def up(data_dir: Path | None, port: int | None, files: tuple[Path, ...], *, with_example: bool) -> None:
    """Start the broker and every role on this machine. Ctrl-C stops them all; twice, at once.

    A role that ends is started again. All else is set by ENTREPOT_* (docs/operations.md).
    """
    from app.cli.service.up import run  # noqa: PLC0415  # loads the broker and an HTTP client

    given = {"data_dir": data_dir, "api_port": port}
    settings = load_settings({name: value for name, value in given.items() if value is not None})
    settings = settings.model_copy(update={"file_roots": (*settings.file_roots, *(each.absolute() for each in files))})
    try:
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what is wrong is said here in one sentence
        with only_one(settings.data_dir):
            code = asyncio.run(run(settings, with_example=with_example))
    except (InUseError, NotStartedError, OSError) as error:
        raise exits.Stopped(str(error), exits.UNAVAILABLE) from error
    raise click.exceptions.Exit(code)


@click.command(short_help="Run one role in this process.")
@click.argument("role", type=click.Choice([each.name for each in ROLES]), metavar="ROLE")
@click.option("--supervisor", type=int, hidden=True, help="End when the process of this id, our parent, ends.")
def worker(role: str, supervisor: int | None) -> None:
    """Run one ROLE until SIGTERM or Ctrl-C; it finishes its batch and commits before it ends.

    Roles: api, control, runner, lane-realtime, lane-backfill, profiles, rebuild.

    Exit codes: 0 it was told to stop; 6 Kafka or the database can't be reached; 70 it ended itself rather than break a
    promise: start it again.
    """
    if supervisor is not None:
        end_with(supervisor)
    _run(role, load_settings({}), supervised=supervisor is not None)


@click.command(short_help="Run the API in this process.")
def api() -> None:
    """Run the API in this process, as `entrepot worker api` does."""
    _run("api", load_settings({}), supervised=False)


def _run(role: str, settings: Settings, *, supervised: bool) -> None:
    configure_logs(settings)
    _log.info("the role %s starts, process %d", role, os.getpid())
    settings = with_kafka(settings)
    if not supervised:  # else it was looked at by who supervises
        try:
            asyncio.run(_look_around(role, settings))
        except NotStartedError as error:
            raise exits.Stopped(str(error), exits.UNAVAILABLE) from error
    raise click.exceptions.Exit(_reaching_all(role_named(role), settings))


async def _look_around(role: str, settings: Settings) -> None:
    if role == "api":
        check_address(settings)
    if role in {"api", "runner"}:
        check_file_roots(settings)
    if role != "runner":
        await check_store(settings)
    if role != "api":  # which answers also while Kafka is away
        await wait_for_kafka(settings.bootstrap_servers, PATIENCE_SECONDS, _log.warning)


def _reaching_all(role: Role, settings: Settings) -> int:
    """Run the role; what it needs and can't reach becomes an error for a person, without a trace."""
    from aiokafka.errors import KafkaError  # noqa: PLC0415  # only a process that is a role pays for them
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    from app.kafka.topics import ClusterUnreachable, TopicsError  # noqa: PLC0415

    try:
        return run_role(role, settings)
    except (ClusterUnreachable, KafkaError, OSError) as error:
        raise exits.Stopped(str(error), exits.UNAVAILABLE) from error
    except DBAPIError as error:
        raise exits.Stopped(store_trouble(settings, error), exits.UNAVAILABLE) from error
    except TopicsError as error:
        raise exits.Stopped(str(error)) from error
