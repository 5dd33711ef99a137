"""How a route is declared: once, for the server, its checks and the OpenAPI document. Answers nothing itself."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, model_validator

from app.api.context import REQUEST_ID, Services
from app.auth import AccessRole, Caller


class Query(BaseModel):
    """Query parameters; a name that is not known is refused, as it is most likely misspelt."""

    model_config = ConfigDict(extra="forbid", frozen=True)


MAX_FIELDS: Final = 100


class Body(BaseModel):
    """A JSON body; a field that is not known is refused, as it is most likely misspelt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _few(cls, data: Any) -> Any:
        """Refuse a flood before each of its fields is looked at."""
        if isinstance(data, dict) and len(data) > MAX_FIELDS:
            raise ValueError(f"an object here has at most {MAX_FIELDS} fields, and this one has {len(data):,}")
        return data


Q = TypeVar("Q", bound=Query)
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class RequestContext(Generic[Q, B]):
    """One request, checked: who asks, and the query and body as declared."""

    request: web.Request
    api: Services
    caller: Caller
    query: Q
    body: B

    def path(self, name: str) -> str:
        """Return a part of the path."""
        return self.request.match_info[name]

    @property
    def request_id(self) -> str:
        """The id of the request, as in the answer and the log."""
        found: str = self.request[REQUEST_ID]
        return found


@dataclass(frozen=True, slots=True)
class Header:
    """A request header that a route looks at."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False


@dataclass(frozen=True, slots=True)
class ResponseSpec:
    """One good answer: what its `data` is, or its content type when it is no envelope."""

    description: str
    data: Any = None  # a type that pydantic can describe
    content_type: str = "application/json"
    bare: bool = False  # JSON without the envelope, where a standard says what it looks like
    headers: tuple[str, ...] = ()


Handler = Callable[[RequestContext[Any, Any]], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path. `role` None: open to everyone who can reach the port."""

    method: str
    path: str
    handler: Handler
    role: AccessRole | None
    tag: str
    summary: str
    answers: Mapping[int, ResponseSpec]
    problems: tuple[int, ...] = ()  # beside those that every route can have
    query: type[Query] = Query
    body: type[BaseModel] | None = None
    body_type: str = "application/json"
    body_required: bool = True
    content: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict
    )  # JSON schema by content type: the handler reads
    headers: tuple[Header, ...] = ()
    streams: bool = False  # answers for as long as the client listens, or sends
    quiet: bool = False  # comes so often that good answers aren't logged


STREAM_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
IF_MATCH: Final = Header("If-Match", 'the `ETag` that was read: `"<revision>"`, or `*` for any', required=True)
MAY_MATCH: Final = Header("If-Match", 'only at this revision: `"<revision>"`')
PREFER: Final = Header(
    "Prefer",
    "`wait=<seconds>`: answer when the change is visible, after so many seconds at most (default 5); "
    "`respond-async`: answer 202 at once",
)
IDEMPOTENCY_KEY: Final = Header(
    "Idempotency-Key",
    "the same key with the same body is done once, however often it is sent",
    {"type": "string", "minLength": 1, "maxLength": 200},
)
CONTENT_ENCODING: Final = Header(
    "Content-Encoding", "what the body is packed with", {"type": "string", "enum": ["gzip", "zstd", "identity"]}
)
LAST_EVENT_ID: Final = Header("Last-Event-ID", "the id of the last event that was received: go on behind it")
