"""Names the cause of a failed write where it is known: a full disk, or a clock that differs from the broker's."""

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aiokafka.errors import KafkaError, KafkaStorageError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from app.api.http.problems import ApiProblem
from app.kafka.cluster import BROKER_DIR
from app.kafka.producer_record import ClockSkewError
from app.settings import Settings

FULL_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
POSTGRES_DISK_FULL: Final = "53100"
MIN_FREE_BYTES: Final = 32 * 1024 * 1024  # with less, the broker can't create the files of a log segment


def write_problem(error: BaseException | None, settings: Settings) -> ApiProblem | None:
    """Return the problem that names the cause of an error, or of one that it was raised from; None if unknown."""
    for cause in _causes(error):
        if isinstance(cause, ClockSkewError):
            return ApiProblem(503, "clock_skew", str(cause))
        if (where := _full_disk(cause, settings)) is not None:
            return ApiProblem(507, "disk_full", f"the disk {where} is full: free space, then repeat the request")
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _full_disk(error: BaseException, settings: Settings) -> str | None:
    """Return the place of the full disk that caused an error."""
    match error:
        case OSError() if error.errno in FULL_ERRORS:
            return f"of {Path(error.filename).parent if isinstance(error.filename, str) else settings.data_dir}"
        case DBAPIError(orig=sqlite3.OperationalError(sqlite_errorcode=sqlite3.SQLITE_FULL)):
            return f"of {Path(make_url(settings.database()).database or '').parent}"
        case DBAPIError() if getattr(error.orig, "sqlstate", None) == POSTGRES_DISK_FULL:
            return "of the PostgreSQL server"
        case KafkaError() | TimeoutError() if _is_broker_full(settings):
            return f"of {settings.data_dir}"
        case KafkaStorageError():
            return "of the Kafka broker"
        case _:
            return None


def _is_broker_full(settings: Settings) -> bool:
    """Whether the embedded broker has no space left: it stops responding without naming a cause."""
    is_embedded = (settings.data_dir / BROKER_DIR).exists()
    return is_embedded and shutil.disk_usage(settings.data_dir).free < MIN_FREE_BYTES
