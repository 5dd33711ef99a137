"""Recognizes a full disk among the errors of a request, and names its directory."""

import errno
import sqlite3
from pathlib import Path
from typing import Final

from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from app.api.http.problems import ApiProblem
from app.settings import Settings

FULL_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
POSTGRES_DISK_FULL: Final = "53100"


def disk_full_problem(error: Exception, settings: Settings) -> ApiProblem | None:
    """Return the problem of an error that a full disk has caused; None for another error."""
    match error:
        case OSError() if error.errno in FULL_ERRORS:
            where = f"of {Path(error.filename).parent if isinstance(error.filename, str) else settings.data_dir}"
        case DBAPIError(orig=sqlite3.OperationalError(sqlite_errorcode=sqlite3.SQLITE_FULL)):
            where = f"of {Path(make_url(settings.database()).database or '').parent}"
        case DBAPIError() if getattr(error.orig, "sqlstate", None) == POSTGRES_DISK_FULL:
            where = "of the PostgreSQL server"
        case _:
            return None
    return ApiProblem(507, "disk_full", f"the disk {where} is full: free space, then repeat the request")
