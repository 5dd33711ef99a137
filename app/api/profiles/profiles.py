"""Profiles over HTTP: look up, explain and forget."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import Field

from app.api.definitions.commands import definition_envelope, send_definition_command
from app.api.definitions.rebuild_requests import active_rules
from app.api.http.param_types import Limit, PageCursor, TimestampText
from app.api.http.problems import ApiProblem, FieldError, invalid, not_found
from app.api.profiles.views import ExplainView, ForgottenView, ProfileView, message_view, profile_view
from app.api.routing.responses import respond, respond_page
from app.api.routing.routes import PREFER, Query, RequestContext, ResponseSpec, Routes
from app.api.services.ingest_producer import IngestProducer, NotConfirmedError, NotSentError
from app.api.services.lag_monitor import UPDATE_TOPICS
from app.api.services.worker_pool import Worker
from app.kafka.producer_record import ProducerRecord
from app.profiles.history import HistoryTooLargeError, Reference
from app.profiles.lookup_client import GenerationReader, PartitionUnavailable, ProfilesClient
from app.store.views.page_cursors import decode_cursor, encode_cursor, fingerprint
from projections.definitions.compiled_rules import identity_of
from projections.definitions.definition import MAX_KEYS
from projections.definitions.rules import key_hash
from projections.profiles.identity_node import Node
from projections.profiles.partitioning import partition_of_key
from projections.profiles.profile_view import ranked_key, shown_key
from projections.profiles.update_codec import encode_messages
from projections.profiles.updates import NodeMessages
from schemas.definitions import FORGOTTEN, ForgetPerson
from schemas.instants import micros
from schemas.topics import UPDATES_REALTIME
from schemas.updates import EVERY_GENERATION, NodeBatch
from schemas.wire.codec import encode

MAX_ROUNDS: Final = 5  # of collecting identities that are linked meanwhile; later ones are not forgotten
ROUND_SECONDS: Final = 1.0  # until the lanes apply the new rules
ARRIVAL_TIMEOUT_SECONDS: Final = 20.0
MAX_HOPS: Final = 3  # from node to node, until all identities of a person are linked
DROP_TIMEOUT_SECONDS: Final = 20.0
MIN_POLL_INTERVAL: Final = 0.02
MAX_POLL_INTERVAL: Final = 0.5
MAX_RECORD_KEYS: Final = 20_000  # keys in a record, of half a kilobyte at most


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
    reader = await _reader(call)
    key = _ranked_key(call, reader)
    root, rules = await _profile_root(reader, key), call.api.rules.of(reader.generation)
    if call.query.as_of is None:
        return respond(call, profile_view(root, rules))
    async with _evaluating(call) as worker:
        references = await call.api.history.references(reader, root.identities())
        then = await call.api.history.as_of(worker, references, key, micros(call.query.as_of), rules)
    if not then.registers and not then.edges:
        raise not_found("profile", shown_key(key), f" as of {call.query.as_of.isoformat()}")
    return respond(call, profile_view(then, rules))


@ROUTES(
    "DELETE",
    "/{key}",
    "Forget a person, in all future replays and rebuilds",
    ResponseSpec("the forgotten identities", ForgottenView),
    role="admin",
    headers=(PREFER,),
)
async def forget_profile(call: RequestContext[Query, None]) -> web.Response:
    """Forget a person: drop the profile, and never map messages up to now again.

    An identity without a profile can be forgotten, too: later messages about its past are not mapped.
    """
    at, reader = call.api.clock(), await _reader(call)
    key = _ranked_key(call, reader)
    root, deadline = await _root(reader, key), asyncio.get_running_loop().time() + ARRIVAL_TIMEOUT_SECONDS
    linked = {key, *root.identities()}
    for _ in range(MAX_ROUNDS):
        identities = linked
        hashes = sorted(key_hash(shown_key(identity)) for identity in identities)
        visible = await _add_forgotten(call, hashes, at)
        await asyncio.sleep(ROUND_SECONDS)
        caught_up = await _profiles_caught_up(call, deadline)
        root = await _root(reader, key)
        linked = identities.union(root.identities())
        if linked == identities:
            break
    complete = len(root.edges) < identity_of(call.api.rules.of(reader.generation)).max_identities
    caveat = "" if complete else ". Identities beyond the limit of links are not forgotten"
    await _drop(call, reader, identities, micros(at), caveat)
    if not caught_up:
        raise _not_dropped(f"profiles lag behind, and pending messages may link more identities{caveat}")
    if active_rules(call).generation != reader.generation:
        raise _not_dropped(f"a rebuild is going live, and may link more identities{caveat}")
    view = ForgottenView(at=at, identities=len(identities), key_hashes=hashes, complete=complete)
    return respond(call, view, message="forgotten" if visible else "accepted; effective once it is visible")


async def _add_forgotten(call: RequestContext[Any, Any], hashes: Sequence[str], at: datetime) -> bool:
    """Exclude messages up to a moment that name one of the identities; return whether the rule is visible."""
    visible = True
    for begin in range(0, len(hashes), MAX_KEYS):
        chunk = tuple(hashes[begin : begin + MAX_KEYS])
        visible &= await send_definition_command(
            call, ForgetPerson(**definition_envelope(call, FORGOTTEN, None), key_hashes=chunk, at=at)
        )
    return visible


async def _root(reader: GenerationReader, key: str) -> Node:
    """Return the node that holds the profile of a key; an empty one when there is no profile."""
    try:
        return await reader.root(key) or Node(key)
    except PartitionUnavailable as error:
        raise _unreachable(error) from error


async def _profiles_caught_up(call: RequestContext[Any, Any], deadline: float) -> bool:
    """Wait until profiles have applied all updates up to now, and the messages between nodes that result."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            for _ in range(MAX_HOPS):
                await _until(partial(call.api.lanes.has_passed, UPDATE_TOPICS, call.api.clock()))
        return True
    return False


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    interval = MIN_POLL_INTERVAL
    while not await condition():
        await asyncio.sleep(interval)
        interval = min(2 * interval, MAX_POLL_INTERVAL)


def _not_dropped(reason: str) -> ApiProblem:
    detail = f"the person is excluded permanently, but {reason}. Repeat the request"
    return ApiProblem(503, "not_dropped_yet", detail, headers={"Retry-After": "2"})


async def _drop(
    call: RequestContext[Any, Any], reader: GenerationReader, identities: set[str], at_micros: int, caveat: str
) -> None:
    """Send each identity's node the message to forget, and wait until all have applied it."""
    keys = sorted(identities)
    ingest: IngestProducer = call.api.ingest

    async def dropped() -> bool:
        return all(node and node.forgotten >= at_micros for node in await reader.nodes(keys))

    try:
        for ranked in _rankings(call, reader, keys):
            for record in _forget_records(ranked, at_micros, call.api.settings.partitions):
                await ingest.write([record])
        async with asyncio.timeout(DROP_TIMEOUT_SECONDS):
            await _until(dropped)
    except (NotSentError, NotConfirmedError, PartitionUnavailable, TimeoutError) as error:
        raise _not_dropped(f"it is unknown whether all data is dropped{caveat}") from error


def _rankings(call: RequestContext[Any, Any], reader: GenerationReader, keys: Sequence[str]) -> list[list[str]]:
    """Return the keys by the live ranks and, while a rebuild with other ranks goes live, also by its ranks."""
    rankings = []
    for rules in (call.api.rules.of(reader.generation), call.api.rules.rules):
        ranks = identity_of(rules).ranks()
        identities = [shown_key(key) for key in keys]
        ranked = sorted(ranked_key(identity, ranks) for identity in identities if identity.partition(":")[0] in ranks)
        if ranked not in rankings:
            rankings.append(ranked)
    return rankings


def _forget_records(keys: Sequence[str], at_micros: int, partitions: int) -> Iterator[ProducerRecord]:
    """Yield the records that make the nodes of a person forget; each message names all keys, so chunks are small."""
    by_partition: dict[int, list[str]] = defaultdict(list)
    for key in keys:
        by_partition[partition_of_key(key, partitions)].append(key)
    chunk_size = max(MAX_RECORD_KEYS // len(keys), 1)
    for partition, targets in by_partition.items():
        for begin in range(0, len(targets), chunk_size):
            chunk = targets[begin : begin + chunk_size]
            messages = NodeMessages(forget=[(target, at_micros, keys) for target in chunk])
            batch = NodeBatch(payload=encode_messages(messages), generation=EVERY_GENERATION)
            yield ProducerRecord(UPDATES_REALTIME.name, encode(batch), partition=partition)


@ROUTES(
    "GET",
    "/{key}/explain",
    "Explain a profile: the messages, rules and links behind it",
    ResponseSpec("the profile and its messages", ExplainView, headers=("Link",)),
    problems=(404, 429),
)
async def explain_profile(call: RequestContext[ExplainQuery, None]) -> web.Response:
    """Return a profile with a page of the messages, and the rules and links behind it."""
    reader, query = await _reader(call), call.query
    key = _ranked_key(call, reader)
    mark = fingerprint("explain", key)
    after = Reference._make(decode_cursor(query.cursor, mark, REFERENCE_TYPES)) if query.cursor is not None else None
    root = await _profile_root(reader, key)
    async with _evaluating(call) as worker:
        references = await call.api.history.references(reader, root.identities())
        page, last = await call.api.history.page(worker, references, after, query.limit)
    profile = profile_view(root, call.api.rules.of(reader.generation))
    messages = [message_view(message) for message in page]
    return respond_page(
        call, ExplainView(profile=profile, messages=messages), None if last is None else encode_cursor(mark, last)
    )


async def _reader(call: RequestContext[Any, Any]) -> GenerationReader:
    client: ProfilesClient = call.api.profiles_client
    return await client.reader()


def _ranked_key(call: RequestContext[Any, Any], reader: GenerationReader) -> str:
    identity = call.path("key")
    kind, colon, value = identity.partition(":")
    ranks = identity_of(call.api.rules.of(reader.generation)).ranks()
    if not colon or not value:
        message = "expected `kind:value`, such as email:ada@example.com"
        raise invalid([FieldError("/key", "bad_identity", message)])
    if kind not in ranks:
        kinds = ", ".join(sorted(ranks)) or "none"
        raise not_found("profile", identity, f"; identity types: {kinds}")
    return ranked_key(identity, ranks)


async def _profile_root(reader: GenerationReader, key: str) -> Node:
    root = await _root(reader, key)
    if not (root.registers or root.edges):
        raise not_found("profile", shown_key(key))
    return root


@asynccontextmanager
async def _evaluating(call: RequestContext[Any, Any]) -> AsyncIterator[Worker]:
    """Give a worker for the messages of a profile, and turn errors in reading them into problems."""
    try:
        async with call.worker() as worker:
            yield worker
    except PartitionUnavailable as error:
        raise _unreachable(error) from error
    except HistoryTooLargeError as error:
        raise ApiProblem(422, "too_many_messages", f"{error}; that is too many for one response") from error


def _unreachable(error: PartitionUnavailable) -> ApiProblem:
    return ApiProblem(503, "profiles_unreachable", f"{error}; try again", headers={"Retry-After": "1"})
