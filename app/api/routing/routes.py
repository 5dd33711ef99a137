"""Routes: declared once, for the server, the request checks and the OpenAPI document."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Final, Generic, TypedDict, TypeVar, Unpack, get_args

from aiohttp import web
from pydantic import BaseModel, ConfigDict, model_validator

from app.api.context import REQUEST_ID, Services
from app.api.services.evaluator_pool import Evaluator
from app.auth import Caller
from schemas.access import AccessRole

MAX_FIELDS: Final = 100  # of a body


class Query(BaseModel):
    """Query parameters of a route. An unknown name is rejected: it is probably misspelt."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Body(BaseModel):
    """A JSON body of a route. An unknown field is rejected: it is probably misspelt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _check_field_count(cls, data: Any) -> Any:
        """Reject an object with too many fields before the fields are validated."""
        if isinstance(data, dict) and len(data) > MAX_FIELDS:
            raise ValueError(f"{len(data):,} fields, at most {MAX_FIELDS} are allowed")
        return data


Q = TypeVar("Q", bound=Query)
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class RequestContext(Generic[Q, B]):
    """One validated request: its caller, query and body."""

    request: web.Request
    api: Services
    caller: Caller
    query: Q
    body: B

    def path(self, name: str) -> str:
        """Return a path parameter: "id" for the route `/v2/job/{id}`."""
        return self.request.match_info[name]

    def evaluator(self) -> AbstractAsyncContextManager[Evaluator]:
        """Give an evaluator to this request. The request is cancelled when its client disconnects."""
        return self.api.evaluators.evaluator(lambda: self.request.transport is None)

    @property
    def request_id(self) -> str:
        """The id of the request, as in the response and the log."""
        request_id: str = self.request[REQUEST_ID]
        return request_id


@dataclass(frozen=True, slots=True)
class Header:
    """A request header of a route."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False


@dataclass(frozen=True, slots=True)
class ResponseSpec:
    """One success response: its `data` in the envelope, or its content type when it has no envelope.

    `ids` are path parameters of other routes, by JSON pointer into the body: the document links the response to them.
    """

    description: str = ""  # by default the summary of the route
    data: Any = None  # a type that pydantic can describe
    status: int = 200
    content_type: str = "application/json"
    bare: bool = False  # JSON without the envelope, where a standard defines its form
    headers: tuple[str, ...] = ()
    ids: Mapping[str, str] = field(default_factory=dict)


RouteHandler = Callable[[RequestContext[Any, Any]], Awaitable[web.StreamResponse]]
H = TypeVar("H", bound=RouteHandler)


class RouteOptions(TypedDict, total=False):
    """The optional parts of a `Route`. By default `role` is `viewer` for GET and `editor` for other methods."""

    role: AccessRole | None
    problems: tuple[int, ...]
    body_type: str
    body_required: bool
    content: Mapping[str, Mapping[str, Any]]
    headers: tuple[Header, ...]
    streams: bool
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path. `role` is the least role of the caller; None: no token is needed."""

    method: str
    path: str
    handler: RouteHandler
    role: AccessRole | None
    tag: str
    summary: str
    responses: tuple[ResponseSpec, ...]
    problems: tuple[int, ...] = ()  # status codes beside those that the role, query, body and headers imply
    query: type[Query] = Query
    body: type[BaseModel] | None = None
    body_type: str = "application/json"
    body_required: bool = True
    content: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # schemas of a body that the handler reads
    headers: tuple[Header, ...] = ()
    streams: bool = False  # no time limit: lasts as long as the client sends or listens
    quiet: bool = False  # so frequent that successful requests are logged at level DEBUG only


class Routes:
    """The routes of a resource; each decorates its handler: `@ROUTES("GET", "/{id}", "Show a job", JOB)`.

    Query and body are the types in the handler's `RequestContext[Query, Body]`; a body `Body | None` is optional.
    """

    def __init__(self, tag: str, prefix: str = "", **defaults: Unpack[RouteOptions]) -> None:
        self._tag = tag
        self._prefix = prefix
        self._defaults = defaults
        self._routes: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def __call__(
        self, method: str, path: str, summary: str, *responses: ResponseSpec, **options: Unpack[RouteOptions]
    ) -> Callable[[H], H]:
        """Declare a route with the decorated function as its handler."""

        def declare(handler: H) -> H:
            query, body, body_required = _request_types(handler)
            implied: RouteOptions = {"role": "viewer" if method == "GET" else "editor", "body_required": body_required}
            merged: RouteOptions = {**implied, **self._defaults, **options}
            route = Route(
                method=method,
                path=f"{self._prefix}{path}",
                handler=handler,
                tag=self._tag,
                summary=summary,
                responses=responses,
                query=query,
                body=body,
                **merged,
            )
            self._routes.append(route)
            return handler

        return declare


def _request_types(handler: RouteHandler) -> tuple[type[Query], type[BaseModel] | None, bool]:
    """Return the types of query and body in a handler's signature, and whether the body is required."""
    query, body = get_args(next(iter(handler.__annotations__.values())))
    options = get_args(body) or (body,)
    models = [option for option in options if option is not NoneType]
    return query, models[0] if models else None, len(options) == 1


STREAM_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
IF_MATCH: Final = Header("If-Match", 'the `ETag` that was read, `"<revision>"`, or `*` for any revision', required=True)
OPTIONAL_IF_MATCH: Final = Header("If-Match", 'only at this revision, `"<revision>"`')
PREFER: Final = Header(
    "Prefer",
    "`wait=<seconds>`: respond once the change is visible, at most this long (default 5); "
    "`respond-async`: respond with 202 at once",
)
EDIT: Final[RouteOptions] = {"headers": (OPTIONAL_IF_MATCH, PREFER), "problems": (404, 409)}  # of something that exists
IDEMPOTENCY_KEY: Final = Header(
    "Idempotency-Key",
    "requests with the same key and body are carried out once",
    {"type": "string", "minLength": 1, "maxLength": 200},
)
CONTENT_ENCODING: Final = Header(
    "Content-Encoding", "compression of the body", {"type": "string", "enum": ["gzip", "zstd", "identity"]}
)
LAST_EVENT_ID: Final = Header("Last-Event-ID", "id of the last received event; the stream resumes after it")
