"""`up`, `worker` and `api`: run Entrepot, all roles or one."""

import asyncio
import logging
import os
from pathlib import Path

import click

from app.cli import exits
from app.cli.service.settings_errors import DATA_DIR, load_settings, settings_of
from app.data_dir import (
    IncompatibleFormatError,
    InUseError,
    UnsafeDataDirError,
    lock_data_dir,
    prepare_data_dir,
)
from app.logs import configure_logs
from app.process import low_limit_warning, raise_file_limit
from app.roles import ROLES, ProcessRole, role_named, run_role
from app.settings import Settings
from app.supervisor.preflight import (
    CONTAINER_TIMEOUT_SECONDS,
    check_address,
    check_file_roots,
    check_store,
    describe_store_error,
    wait_for_kafka,
)
from app.supervisor.restarts import NotStartedError

_log = logging.getLogger(__name__)


@click.command()
@DATA_DIR
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the API and the web pages; 0: any free port.")
@click.option(
    "--files",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory that file jobs may read; may be repeated.",
)
@click.option("--with-example", is_flag=True, help="Import sample flights, once.")
def up(data_dir: Path | None, port: int | None, files: tuple[Path, ...], *, with_example: bool) -> None:
    """Start the broker and all roles on this machine. Ctrl-C stops them; press it again to force quit.

    A role that exits is restarted. Other settings: ENTREPOT_* (docs/operations.md).
    """
    from app.cli.service.up import run_service  # noqa: PLC0415  # loads the broker and an HTTP client

    if warning := low_limit_warning(raise_file_limit()):
        click.echo(f"Warning: {warning}", err=True)
    given = {"data_dir": data_dir, "api_port": port}
    settings = load_settings({name: value for name, value in given.items() if value is not None})
    settings = settings.model_copy(update={"file_roots": (*settings.file_roots, *(path.absolute() for path in files))})
    try:
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the error message below suffices
        with lock_data_dir(settings.data_dir):
            code = asyncio.run(run_service(settings, with_example=with_example))
    except (IncompatibleFormatError, InUseError, UnsafeDataDirError, NotStartedError, OSError) as error:
        raise exits.CommandError(str(error), exits.UNAVAILABLE) from error
    raise click.exceptions.Exit(code)


@click.command()
@click.argument("role", type=click.Choice([role.name for role in ROLES]), metavar="ROLE")
@click.option("--supervised", is_flag=True, hidden=True, help="The supervisor has checked the environment.")
@DATA_DIR
def worker(role: str, data_dir: Path | None, *, supervised: bool) -> None:
    """Run one ROLE until SIGTERM or Ctrl-C; it finishes and commits its batch before it exits.

    Roles: api, control, runner, lane-realtime, lane-backfill, profiles, rebuild. Their settings are ENTREPOT_*
    (docs/operations.md); a runner has ENTREPOT_MAX_CONCURRENT_RUNS slots for each kind of job, and gives up on a source
    that is slower than ENTREPOT_SOURCE_BYTES_PER_SECOND for ENTREPOT_SOURCE_TIMEOUT_SECONDS.

    Exit codes: 0 stopped by a signal; 6 cannot reach Kafka or the database; 70 aborted to preserve exactly-once
    guarantees: restart it; 71 met commands of a newer version of Entrepot: upgrade it.
    """
    _run(role, settings_of(data_dir), supervised=supervised)


@click.command()
@DATA_DIR
def api(data_dir: Path | None) -> None:
    """Run the API in this process, as `entrepot worker api` does."""
    _run("api", settings_of(data_dir), supervised=False)


def _run(role: str, settings: Settings, *, supervised: bool) -> None:
    from app.kafka.cluster import NoClusterError, resolve_kafka  # noqa: PLC0415  # loads the Kafka client, as the role does

    configure_logs(settings)
    if warning := low_limit_warning(raise_file_limit()):
        _log.warning("%s", warning)
    _log.info("starting worker role=%s pid=%d", role, os.getpid())
    try:
        settings = resolve_kafka(settings)
    except NoClusterError as error:
        raise exits.CommandError(str(error), exits.UNAVAILABLE) from error
    if not supervised:  # else the supervisor has done it
        try:
            asyncio.run(_preflight(role, settings))
        except (UnsafeDataDirError, NotStartedError, OSError) as error:
            raise exits.CommandError(str(error), exits.UNAVAILABLE) from error
    raise click.exceptions.Exit(_run_role(role_named(role), settings))


async def _preflight(role: str, settings: Settings) -> None:
    prepare_data_dir(settings.data_dir)
    if role == "api":
        check_address(settings)
    if role in {"api", "runner"}:
        check_file_roots(settings)
    if role != "runner":
        await check_store(settings)
    if role != "api":  # the API also serves without Kafka
        await wait_for_kafka(settings, CONTAINER_TIMEOUT_SECONDS, _log.warning)


def _run_role(role: ProcessRole, settings: Settings) -> int:
    """Run the role; an unreachable dependency becomes an error message without a traceback."""
    from aiokafka.errors import KafkaError  # noqa: PLC0415  # only imported by a process that runs a role
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415  # as above

    from app.kafka.cluster import KafkaPasswordError  # noqa: PLC0415  # loads the Kafka client, as the role does
    from app.kafka.topics import ClusterUnreachable, TopicsError  # noqa: PLC0415  # as above

    try:
        return run_role(role, settings)
    except (ClusterUnreachable, KafkaError, KafkaPasswordError, OSError) as error:
        raise exits.CommandError(str(error), exits.UNAVAILABLE) from error
    except DBAPIError as error:
        raise exits.CommandError(describe_store_error(settings, error), exits.UNAVAILABLE) from error
    except TopicsError as error:
        raise exits.CommandError(str(error)) from error
