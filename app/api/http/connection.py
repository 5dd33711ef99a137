"""Connections to the API's port: what can't be read as a request is answered in our words, and never logged as it came.

A header can hold a token, and aiohttp's own answer and its log repeat the line that it couldn't read.
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
IDLE_SECONDS: Final = 30.0  # without the whole head of a request, at first and after each answer

_log = logging.getLogger(__name__)


class Connection(web.RequestHandler):
    """One connection of a client."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # aiohttp's signature; it repeats what came
    ) -> web.StreamResponse:
        """Answer a request that no handler could be given, or that broke on its way to one."""
        if isinstance(exc, HttpProcessingError):
            _log.info("what %s sent can't be read as a request: %s", request.remote, type(exc).__name__)
        else:
            _log.error("a request of %s failed", request.remote, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer was sent already")
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
            return ApiProblem(status, "malformed_request", "this can't be read as a request of HTTP/1.1 (RFC 9112)")
        case _:
            return ApiProblem(status, "internal", "something broke inside; the log has the cause")


class Port(web.AppRunner):
    """Runs the application behind a port. A client that is silent for too long in front of a request is let go."""

    def __init__(self, app: web.Application, shutdown_timeout: float) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=shutdown_timeout)

    @property
    def server(self) -> Any:
        """What makes the connections."""
        server = super().server
        return server and _connections(server)


def _connections(server: web.Server) -> Callable[[], Connection]:
    return lambda: Connection(
        server,
        loop=asyncio.get_running_loop(),
        access_log=None,  # type: ignore[arg-type]  # which is how none is written
        max_line_size=MAX_LINE_BYTES,
        auto_decompress=False,  # bodies are unpacked in bounded steps, where they are taken packed at all
        keepalive_timeout=IDLE_SECONDS,
    )
