"""Middleware: request ids, timing, authorization, validation, errors as problems. Independent of resources."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final
from uuid import uuid4

from aiohttp import web
from aiohttp.typedefs import Handler

from app.api.context import API, QUIET, REQUEST_ID
from app.api.http.auth import ANONYMOUS, SECURITY_HEADERS, authenticated, authorize, check_host
from app.api.http.problems import REGISTRY, ApiProblem, FieldError, invalid
from app.api.http.write_failures import write_problem
from app.api.routing.parsing import read_body, read_query
from app.api.routing.routes import RequestContext, Route
from app.api.services.evaluator_pool import DEADLINE_SECONDS, DeadlineExceededError, PoolBusyError
from app.store.models import InvalidCursorError, InvalidLimitError
from projections.views.metrics import InvalidRangeError

REQUEST_TIMEOUT_SECONDS: Final = 60.0
INVALID_PARAMETERS: Final[Mapping[type[Exception], tuple[str, str]]] = MappingProxyType(
    {
        InvalidCursorError: ("?cursor", "bad_cursor"),
        InvalidLimitError: ("?limit", "bad_limit"),
        InvalidRangeError: ("?interval", "bad_range"),
    }
)

ProblemPage = Callable[[web.Request, ApiProblem], web.Response]
PROBLEM_PAGE: Final[web.AppKey[ProblemPage]] = web.AppKey("problem_page")

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = logging.getLogger(__name__)


def handler_of(route: Route) -> Handler:
    """Return the aiohttp handler of a route: authorize, validate query and body, then handle."""

    async def handle(request: web.Request) -> web.StreamResponse:
        api = request.app[API]
        request[QUIET] = route.quiet
        caller = ANONYMOUS
        if route.role is not None:
            await api.access.until_loaded()
            caller = authenticated(request, api.access.authenticate)
            authorize(caller, route.role)
        async with asyncio.timeout(None if route.streams else REQUEST_TIMEOUT_SECONDS):
            query = read_query(request, route.query)
            body: Any = await read_body(request, route)
            return await route.handler(RequestContext(request, api, caller, query, body))

    return handle


@web.middleware
async def handle_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every request an id, and turn every error into a problem."""
    given = request.headers.get("X-Request-ID", "")
    request[REQUEST_ID] = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
    started = time.perf_counter()
    try:
        check_host(request.host, request.app[API].settings)
        response = await handler(request)
    except web.HTTPRedirection:
        raise  # a response that aiohttp expects to be raised
    except Exception as error:  # noqa: BLE001  # the edge: the client gets a response, the log the cause
        response = _problem_response(request, _as_problem(request, error))
    if not response.prepared:
        response.headers["X-Request-ID"] = request[REQUEST_ID]
    _record(request, response, time.perf_counter() - started)
    return response


async def protect(request: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers to a response."""
    for name, value in SECURITY_HEADERS.items():
        response.headers[name] = value
    caching = "no-cache" if request.path.startswith("/static/") else "no-store"
    response.headers.setdefault("Cache-Control", caching)


def _as_problem(request: web.Request, error: Exception) -> ApiProblem:  # noqa: PLR0911  # one line for each kind
    match error:
        case ApiProblem():
            return (_named_cause(request, error.__cause__) if error.status == 503 else None) or error
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            detail = f"method {request.method} not allowed; allowed: {allowed}"
            return ApiProblem(405, "method_not_allowed", detail, headers={"Allow": allowed})
        case web.HTTPNotFound() | web.HTTPForbidden():  # of a directory under /static/
            return ApiProblem(404, "no_such_path", f"no such endpoint: {request.path}; see /openapi.json")
        case web.HTTPException():
            return ApiProblem(error.status, "bad_request", error.reason)
        case InvalidCursorError() | InvalidLimitError() | InvalidRangeError():
            return invalid([FieldError(*INVALID_PARAMETERS[type(error)], str(error))])
        case PoolBusyError():
            detail = "too many requests evaluate rules at the same time: retry later"
            return ApiProblem(429, "too_many_evaluations", detail, headers={"Retry-After": "5"})
        case DeadlineExceededError():
            detail = f"stopped after {DEADLINE_SECONDS:g} s: use a simpler mapping or fewer messages"
            return ApiProblem(503, "evaluation_too_slow", detail, headers={"Retry-After": "30"})
        case TimeoutError():
            return ApiProblem(503, "timeout", "the request timed out; try again", headers={"Retry-After": "5"})
        case _:
            return _failure(request, error)


def _failure(request: web.Request, error: Exception) -> ApiProblem:
    """Return the problem of an error on the side of the server, and log its cause."""
    if problem := _named_cause(request, error):
        return problem
    _log.error("%s %s failed", request.method, request.path, exc_info=error)
    return ApiProblem(500, "internal", "internal server error; the log has the cause under this request id")


def _named_cause(request: web.Request, error: BaseException | None) -> ApiProblem | None:
    """Return the problem of a write whose cause is known, and log it."""
    problem = write_problem(error, request.app[API].settings) if request.method not in {"GET", "HEAD"} else None
    if problem is not None:
        _log.error("%s", problem)
    return problem


def _problem_response(request: web.Request, problem: ApiProblem) -> web.Response:
    if request.path.startswith(f"{REGISTRY}/"):
        return problem.registry_response()
    page = request.app.get(PROBLEM_PAGE)
    if page is not None and _wants_page(request):
        return page(request, problem)
    return problem.response(request[REQUEST_ID])


def _wants_page(request: web.Request) -> bool:
    api = request.path.startswith(("/v2/", "/collect/", "/openapi.json", "/livez", "/readyz", "/metrics"))
    return not api and "text/html" in request.headers.get("Accept", "")


def _record(request: web.Request, response: web.StreamResponse, seconds: float) -> None:
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "(none)"
    method = request.method if request.method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} else "(other)"
    metrics = request.app[API].metrics
    metrics.requests.labels(method, route, str(response.status)).inc()
    if not request.path.startswith("/v2/events"):
        metrics.request_seconds.labels(method, route).observe(seconds)
    quiet = method in {"GET", "HEAD"} and (response.status < 500 or request.path == "/readyz")
    quiet = quiet or (response.status < 300 and request.get(QUIET, False))
    level = logging.DEBUG if quiet else logging.INFO
    # The path without its query, which can carry a sign-in code.
    _log.log(level, "%s %s %d %.1f ms %s", method, request.path, response.status, seconds * 1000, request[REQUEST_ID])
