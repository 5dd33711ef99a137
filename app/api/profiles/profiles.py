"""Profiles over HTTP: what is known of somebody, now or as of a moment, why it is known, and forgetting it."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import Field

from app.api.definitions.commands import envelope, send
from app.api.definitions.rebuild_requests import active_rules
from app.api.http.param_types import TimestampText
from app.api.http.problems import ApiProblem, FieldError, invalid, not_found
from app.api.jobs.ingest_progress import UPDATE_TOPICS
from app.api.profiles.views import ExplainView, ForgottenView, ProfileView, message_view, profile_view
from app.api.routing.responses import respond
from app.api.routing.routes import PREFER, Query, RequestContext, ResponseSpec, Routes
from app.api.services.ingest_producer import IngestProducer, NotConfirmedError, NotSentError
from app.kafka.producer_record import ProducerRecord
from app.profiles.history import HistoryTooLargeError, ProfileHistory, SourceMessage
from app.profiles.lookup_client import GenerationReader, PartitionUnavailable, ProfilesClient
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

MAX_ROUNDS: Final = 5  # a person whose identities grow faster is forgotten as far as they were known
ROUND_SECONDS: Final = 1.0
ARRIVAL_SECONDS: Final = 20.0
HOPS: Final = 3  # from node to node, until somebody's identities are all known
DROP_SECONDS: Final = 20.0
MIN_POLL_INTERVAL: Final = 0.02
MAX_POLL_INTERVAL: Final = 0.5
MAX_RECORD_KEYS: Final = 20_000  # keys in a record, of half a kilobyte at most


class ProfileQuery(Query):
    """When to look."""

    as_of: Annotated[TimestampText | None, Field(description="as it was then, by the times of the messages")] = None


ROUTES: Final = Routes("profiles", "/v2/profile", problems=(404,))


@ROUTES(
    "GET",
    "/{key}",
    "Look at a profile by any of its identities, now or as of a moment",
    ResponseSpec("the profile", ProfileView),
)
async def get_profile(call: RequestContext[ProfileQuery, None]) -> web.Response:
    """Return a profile, now or as it was."""
    look = await _look(call)
    key = _ranked(call, look)
    root, rules = await _root(look, key), call.api.rules.of(look.generation)
    if call.query.as_of is None:
        return respond(call, profile_view(root, rules))
    behind = await _behind(call, look, root)
    then = await call.api.history.as_of(behind, key, micros(call.query.as_of), rules)
    if not then.registers and not then.edges:
        raise not_found("profile", shown_key(key), f" as of {call.query.as_of.isoformat()}")
    return respond(call, profile_view(then, rules))


@ROUTES(
    "DELETE",
    "/{key}",
    "Forget a person, in every replay and rebuild to come",
    ResponseSpec("what was forgotten", ForgottenView),
    role="admin",
    headers=(PREFER,),
)
async def forget_profile(call: RequestContext[Query, None]) -> web.Response:
    """Forget a person: no message up to now is ever mapped again, and what is known is dropped.

    Also an identity that nothing is known of can be forgotten: then what comes in later about its past isn't mapped.
    """
    at, look = call.api.clock(), await _look(call)
    key = _ranked(call, look)
    root, until = await _person(look, key), asyncio.get_running_loop().time() + ARRIVAL_SECONDS
    found = {key, *root.identities()}
    for _ in range(MAX_ROUNDS):
        identities = found
        hashes = sorted(key_hash(shown_key(each)) for each in identities)
        proof = await _prove(call, hashes, at)
        await asyncio.sleep(ROUND_SECONDS)  # until the lanes have heard of it
        arrived = await _has_arrived(call, until)
        root = await _person(look, key)
        found = identities.union(root.identities())
        if found == identities:
            break
    complete = len(root.edges) < identity_of(call.api.rules.of(look.generation)).max_identities
    more = "" if complete else ". Not forgotten is what was joined to it beyond the bound of its identities"
    await _drop(call, look, identities, micros(at), more)
    if not arrived:
        raise _not_dropped(f"the profiles are behind, and more of the person may be on its way to them{more}")
    if active_rules(call).generation != look.generation:
        raise _not_dropped(f"what was rebuilt goes live at this moment, and may know more identities of them{more}")
    view = ForgottenView(at=at, identities=len(identities), key_hashes=hashes, complete=complete)
    return respond(call, view, message="forgotten" if proof else "accepted; it holds as soon as it is visible")


async def _prove(call: RequestContext[Any, Any], hashes: Sequence[str], at: datetime) -> bool:
    """Have no message up to a moment mapped that names one of these; return whether that is visible already."""
    visible = True
    for begin in range(0, len(hashes), MAX_KEYS):
        some = tuple(hashes[begin : begin + MAX_KEYS])
        visible &= await send(call, ForgetPerson(**envelope(call, FORGOTTEN, None), key_hashes=some, at=at))
    return visible


async def _person(look: GenerationReader, key: str) -> Node:
    """Return the node that holds the profile of a key; an empty one when nothing is known."""
    try:
        return await look.root(key) or Node(key)
    except PartitionUnavailable as error:
        raise _unreachable(error) from error


async def _has_arrived(call: RequestContext[Any, Any], until: float) -> bool:
    """Wait until the profiles have read what was said up to now, and what they told each other because of it."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(until):
            for _ in range(HOPS):
                await _until(partial(call.api.lanes.has_passed, UPDATE_TOPICS, call.api.clock()))
        return True
    return False


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    pause = MIN_POLL_INTERVAL
    while not await holds():
        await asyncio.sleep(pause)
        pause = min(2 * pause, MAX_POLL_INTERVAL)


def _not_dropped(why: str) -> ApiProblem:
    detail = f"the person will not come back, but {why}. Repeat the request"
    return ApiProblem(503, "not_dropped_yet", detail, headers={"Retry-After": "2"})


async def _drop(
    call: RequestContext[Any, Any], look: GenerationReader, identities: set[str], moment_micros: int, more: str
) -> None:
    """Tell the node of each identity to forget, and wait until each has."""
    together = sorted(identities)
    ingest: IngestProducer = call.api.ingest

    async def dropped() -> bool:
        return all(node and node.forgotten >= moment_micros for node in await look.nodes(together))

    try:
        for those in _rankings(call, look, together):
            for record in _forgetting(those, moment_micros, call.api.settings.partitions):
                await ingest.write([record])
        async with asyncio.timeout(DROP_SECONDS):
            await _until(dropped)
    except (NotSentError, NotConfirmedError, PartitionUnavailable, TimeoutError) as error:
        raise _not_dropped(f"it isn't known yet whether all is dropped{more}") from error


def _rankings(call: RequestContext[Any, Any], look: GenerationReader, keys: Sequence[str]) -> list[list[str]]:
    """Return keys as they are ranked now and, while a rebuild with other ranks goes live, as they will be."""
    found = []
    for rules in (call.api.rules.of(look.generation), call.api.rules.rules):
        ranks = identity_of(rules).ranks()
        shown = [shown_key(each) for each in keys]
        those = sorted(ranked_key(each, ranks) for each in shown if each.partition(":")[0] in ranks)
        if those not in found:
            found.append(those)
    return found


def _forgetting(together: Sequence[str], moment_micros: int, partitions: int) -> Iterator[ProducerRecord]:
    """Yield what tells the nodes of a person to forget: each is told of all the others, so there is much to say."""
    by_partition: dict[int, list[str]] = defaultdict(list)
    for key in together:
        by_partition[partition_of_key(key, partitions)].append(key)
    most = max(MAX_RECORD_KEYS // len(together), 1)
    for partition, keys in by_partition.items():
        for begin in range(0, len(keys), most):
            told = NodeMessages(forget=[(key, moment_micros, together) for key in keys[begin : begin + most]])
            word = NodeBatch(payload=encode_messages(told), generation=EVERY_GENERATION)
            yield ProducerRecord(UPDATES_REALTIME.name, encode(word), partition=partition)


@ROUTES(
    "GET",
    "/{key}/explain",
    "A profile with the raw messages, rules and links behind it",
    ResponseSpec("the profile and all that is behind it", ExplainView),
)
async def explain_profile(call: RequestContext[Query, None]) -> web.Response:
    """Return a profile with the raw messages, rules and links behind it."""
    look = await _look(call)
    root = await _root(look, _ranked(call, look))
    profile = profile_view(root, call.api.rules.of(look.generation))
    messages = [message_view(each) for each in await _behind(call, look, root)]
    return respond(call, ExplainView(profile=profile, messages=messages))


async def _look(call: RequestContext[Any, Any]) -> GenerationReader:
    client: ProfilesClient = call.api.profiles_client
    return await client.reader()


def _ranked(call: RequestContext[Any, Any], look: GenerationReader) -> str:
    key = call.path("key")
    kind, colon, value = key.partition(":")
    ranks = identity_of(call.api.rules.of(look.generation)).ranks()
    if not colon or not value:
        message = "an identity is written `kind:value`, such as email:ada@example.com"
        raise invalid([FieldError("/key", "bad_identity", message)])
    if kind not in ranks:
        known = ", ".join(sorted(ranks)) or "none yet"
        raise not_found("profile", key, f"; the kinds of identities are: {known}")
    return ranked_key(key, ranks)


async def _root(look: GenerationReader, key: str) -> Node:
    root = await _person(look, key)
    if not (root.registers or root.edges):
        raise not_found("profile", shown_key(key))
    return root


async def _behind(call: RequestContext[Any, Any], look: GenerationReader, root: Node) -> Sequence[SourceMessage]:
    history: ProfileHistory = call.api.history
    try:
        return await history.source_messages(look, root.identities())
    except PartitionUnavailable as error:
        raise _unreachable(error) from error
    except HistoryTooLargeError as error:
        raise ApiProblem(422, "too_many_messages", f"{error}; that is more than one answer can look at") from error


def _unreachable(error: PartitionUnavailable) -> ApiProblem:
    return ApiProblem(503, "profiles_unreachable", f"{error}; ask again in a moment", headers={"Retry-After": "1"})
