"""Connections of the API: a malformed request gets a problem, and is never logged verbatim.

A header can hold a token, and aiohttp's own response and log repeat the line that it cannot parse.
"""

import asyncio
import logging
import time
from typing import Any, Final
from uuid import uuid4

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from app.api.http.auth import SECURITY_HEADERS
from app.api.http.problems import CONTENT_TYPE, ApiProblem

MAX_LINE_BYTES: Final = 64 * 1024
MAX_CONNECTIONS: Final = 1_000  # each is a file descriptor
WARNING_INTERVAL_SECONDS: Final = 60.0
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


class RefusedConnection(asyncio.Protocol):
    """A connection beyond the bound: it gets a problem and is closed, before it can use up file descriptors."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Respond and close."""
        assert isinstance(transport, asyncio.Transport)
        problem = ApiProblem(503, "too_many_connections", "too many connections are open; retry later")
        body = problem.response(uuid4().hex).body
        assert isinstance(body, bytes)
        head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n"
        transport.write(f"{head}Retry-After: 1\r\nConnection: close\r\n\r\n".encode() + body)
        transport.close()


class Port(web.AppRunner):
    """Runs the application on a port. Bounds the connections, and disconnects clients that are idle for too long."""

    def __init__(self, app: web.Application, shutdown_timeout: float, max_connections: int = MAX_CONNECTIONS) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=shutdown_timeout)
        self._max_connections = max_connections
        self._next_warning = float("-inf")

    @property
    def server(self) -> Any:
        """The factory of connections."""
        server = super().server
        return server and (lambda: self._connect(server))

    def _connect(self, server: web.Server) -> asyncio.Protocol:
        if len(server.connections) < self._max_connections:
            return _connection(server)
        now = time.monotonic()
        if now >= self._next_warning:  # not for each connection: a flood must not fill the log
            self._next_warning = now + WARNING_INTERVAL_SECONDS
            _log.warning("refusing connections: %d are open", len(server.connections))
        return RefusedConnection()


def _connection(server: web.Server) -> Connection:
    return Connection(
        server,
        loop=asyncio.get_running_loop(),
        access_log=None,  # type: ignore[arg-type]  # disables the access log
        max_line_size=MAX_LINE_BYTES,
        auto_decompress=False,  # bodies are decompressed in bounded steps, where compression is supported
        keepalive_timeout=IDLE_TIMEOUT_SECONDS,
    )
