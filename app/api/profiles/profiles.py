"""Profiles over HTTP: look up and explain."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from aiohttp import web
from aiokafka.errors import KafkaError
from pydantic import Field

from app.api.http.param_types import Limit, PageCursor, TimestampText
from app.api.http.problems import ApiProblem, FieldError, invalid, kafka_unreachable, not_found
from app.api.profiles.views import ExplainView, ProfileView, message_view, profile_view
from app.api.routing.responses import respond, respond_page
from app.api.routing.routes import Query, RequestContext, ResponseSpec, Routes
from app.api.services.evaluator_pool import Evaluator
from app.profiles.history import HistoryTooLargeError, Reference
from app.profiles.lookup_client import GenerationReader, PartitionUnavailable, ProfilesClient
from app.store.views.page_cursors import decode_cursor, encode_cursor, fingerprint
from projections.definitions.compiled_rules import identity_of
from projections.profiles.identity_node import Node
from projections.profiles.profile_view import ranked_key, shown_key
from schemas.instants import micros


class ProfileQuery(Query):
    """The point in time."""

    as_of: Annotated[TimestampText | None, Field(description="state at this event time")] = None


class ExplainQuery(Query):
    """The page of messages."""

    limit: Annotated[Limit, Field(description="a page of large messages has fewer")] = 100
    cursor: PageCursor | None = None


ROUTES: Final = Routes("profiles", "/v2/profile", problems=(404,))
REFERENCE_TYPES: Final = tuple(Reference.__annotations__.values())


@ROUTES(
    "GET",
    "/{key}",
    "Show a profile by any of its identities, now or at a point in time",
    ResponseSpec("the profile", ProfileView),
    problems=(404, 429),
)
async def get_profile(call: RequestContext[ProfileQuery, None]) -> web.Response:
    """Return a profile, now or at a point in time."""
    reader = await live_reader(call)
    key = requested_key(call, reader)
    root, rules = await _profile_root(reader, key), call.api.rules.of(reader.generation)
    if call.query.as_of is None:
        return respond(call, profile_view(root, rules))
    async with _evaluating(call) as evaluator:
        references = await call.api.history.references(reader, root.identities())
        then = await call.api.history.as_of(evaluator.call, references, key, micros(call.query.as_of), rules)
    if not then.registers and not then.edges:
        raise not_found("profile", shown_key(key), f" as of {call.query.as_of.isoformat()}")
    return respond(call, profile_view(then, rules))


async def _root(reader: GenerationReader, key: str) -> Node:
    """Return the node that holds the profile of a key; an empty one when there is no profile."""
    try:
        return await reader.root(key) or Node(key)
    except PartitionUnavailable as error:
        raise _unreachable(error) from error


@ROUTES(
    "GET",
    "/{key}/explain",
    "Explain a profile: the messages, rules and links behind it",
    ResponseSpec("the profile and its messages", ExplainView, headers=("Link",)),
    problems=(404, 429),
)
async def explain_profile(call: RequestContext[ExplainQuery, None]) -> web.Response:
    """Return a profile with a page of the messages, and the rules and links behind it."""
    reader, query = await live_reader(call), call.query
    key = requested_key(call, reader)
    mark = fingerprint("explain", key)
    after = Reference._make(decode_cursor(query.cursor, mark, REFERENCE_TYPES)) if query.cursor is not None else None
    root = await _profile_root(reader, key)
    async with _evaluating(call) as evaluator:
        references = await call.api.history.references(reader, root.identities())
        page, last = await call.api.history.page(evaluator.call, references, after, query.limit)
    profile = profile_view(root, call.api.rules.of(reader.generation))
    messages = [message_view(message) for message in page]
    return respond_page(
        call, ExplainView(profile=profile, messages=messages), None if last is None else encode_cursor(mark, last)
    )


async def live_reader(call: RequestContext[Any, Any]) -> GenerationReader:
    """Return a reader of the live profiles."""
    client: ProfilesClient = call.api.profiles_client
    return await client.reader()


def requested_key(call: RequestContext[Any, Any], reader: GenerationReader) -> str:
    """Return the ranked key in the path.

    Raises:
        ApiProblem: 422 for a malformed identity, 404 for an unknown identity type or a value that it cannot have.

    """
    identity = call.path("key")
    kind, colon, value = identity.partition(":")
    rules = identity_of(call.api.rules.of(reader.generation))
    kinds = {item.kind: item for item in rules.kinds}
    if not colon or not value:
        message = "expected `kind:value`, such as email:ada@example.com"
        raise invalid([FieldError("/key", "bad_identity", message)])
    if kind not in kinds:
        names = ", ".join(sorted(kinds)) or "none"
        raise not_found("profile", identity, f"; identity types: {names}")
    normal = rules.value_rules(kinds[kind]).normal_form(value)
    if normal is None:
        raise not_found("profile", identity, f"; {value!r} is not a valid {kind}")
    return ranked_key(f"{kind}:{normal}", rules.ranks())


async def _profile_root(reader: GenerationReader, key: str) -> Node:
    root = await _root(reader, key)
    if not (root.registers or root.edges):
        raise not_found("profile", shown_key(key))
    return root


@asynccontextmanager
async def _evaluating(call: RequestContext[Any, Any]) -> AsyncIterator[Evaluator]:
    """Give an evaluator for the messages of a profile, and turn errors in reading them into problems."""
    try:
        async with call.evaluator() as evaluator:
            yield evaluator
    except KafkaError as error:
        raise kafka_unreachable("the messages") from error
    except PartitionUnavailable as error:
        raise _unreachable(error) from error
    except HistoryTooLargeError as error:
        raise ApiProblem(422, "too_many_messages", f"{error}; that is too many for one response") from error


def _unreachable(error: PartitionUnavailable) -> ApiProblem:
    return ApiProblem(503, "profiles_unreachable", f"{error}; try again", headers={"Retry-After": "1"})
