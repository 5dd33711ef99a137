"""Connections of the API: a malformed request gets a problem, and is never logged verbatim.

A header can hold a token, and aiohttp's own response and log repeat the line that it cannot parse.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final
from uuid import uuid4

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from app.api.http.auth import SECURITY_HEADERS
from app.api.http.problems import ApiProblem

MAX_LINE_BYTES: Final = 64 * 1024
IDLE_TIMEOUT_SECONDS: Final = 30.0  # for the head of a request, at first and after each response

_log = logging.getLogger(__name__)


class Connection(web.RequestHandler):
    """One connection of a client."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # aiohttp's signature; it repeats the request
    ) -> web.StreamResponse:
        """Respond to a malformed request, or to one that failed before its handler."""
        if isinstance(exc, HttpProcessingError):
            _log.info("malformed request from %s: %s", request.remote, type(exc).__name__)
        else:
            _log.error("a request from %s failed", request.remote, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the response is already sent")
        response = _problem(status, exc).response(uuid4().hex)
        response.headers.update(SECURITY_HEADERS)
        response.headers["Cache-Control"] = "no-store"
        response.force_close()
        return response


def _problem(status: int, error: BaseException | None) -> ApiProblem:
    match error:
        case LineTooLong():
            return ApiProblem(status, "line_too_long", "the address or a header of the request is too long")
        case HttpProcessingError():
            return ApiProblem(status, "malformed_request", "malformed HTTP/1.1 request (RFC 9112)")
        case _:
            return ApiProblem(status, "internal", "internal server error; the log has the cause")


class Port(web.AppRunner):
    """Runs the application on a port. Disconnects clients that are idle for too long."""

    def __init__(self, app: web.Application, shutdown_timeout: float) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=shutdown_timeout)

    @property
    def server(self) -> Any:
        """The factory of connections."""
        server = super().server
        return server and _connections(server)


def _connections(server: web.Server) -> Callable[[], Connection]:
    return lambda: Connection(
        server,
        loop=asyncio.get_running_loop(),
        access_log=None,  # type: ignore[arg-type]  # disables the access log
        max_line_size=MAX_LINE_BYTES,
        auto_decompress=False,  # bodies are decompressed in bounded steps, where compression is supported
        keepalive_timeout=IDLE_TIMEOUT_SECONDS,
    )
