"""Profiles over HTTP: what is known of somebody, now or as of a moment, why it is known, and forgetting it."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import BaseModel, Field

from app.api.definition_writes import envelope, outcome
from app.api.envelope import answer
from app.api.problems import FieldError, Problem, invalid, not_found
from app.api.routes import PREFER, Answer, Call, Query, Route
from app.api.values import Moment
from app.collecting.intake import Intake, NotConfirmedError, NotSentError
from app.lane.raw import moment
from app.lane.rule_book import identity_of
from app.profiles.asking import Asking, NobodyAnswers
from app.profiles.past import Behind, Past, TooMuchError
from app.safe_faust.publishing import Outgoing
from projections.metrics import EPOCH
from projections.node import Node
from projections.placement import partition_of_key
from projections.profile_view import Evidence, Profile, profile_of, shown_key
from projections.rules import key_hash
from projections.updates import Told, encode_told
from schemas.definitions import FORGOTTEN, ForgetPerson
from schemas.topics import UPDATES_REALTIME
from schemas.updates import NodeBatch
from schemas.wire import encode

MICROSECOND: Final = timedelta(microseconds=1)
MOST_ROUNDS: Final = 5  # a person whose identities grow faster is forgotten as far as they were known
ROUND_SECONDS: Final = 1.0
DROP_SECONDS: Final = 20.0
SHORTEST_LOOK: Final = 0.02
LONGEST_LOOK: Final = 0.5


class EvidenceView(BaseModel):
    """The message behind something."""

    timestamp: datetime
    message_id: str
    job_id: str | None


class AttributeView(EvidenceView):
    """One attribute: its value, how values merge, and the message that it comes from."""

    value: Any
    merge: str


class LinkView(EvidenceView):
    """Two identities, and the first message that named both."""

    identities: tuple[str, str]


class ProfileView(BaseModel):
    """All that is known of somebody. `id` is the best identity; it changes when a better one is found."""

    id: str
    identities: list[str]
    attributes: dict[str, AttributeView]
    links: list[LinkView]


class MessageView(BaseModel):
    """One raw message behind a profile: where it is, what it says and how it was mapped."""

    topic: str
    partition: int
    offset: int
    message_id: str
    stream: str
    job_id: str | None
    timestamp: datetime
    identities: list[str]
    rules_at: Annotated[int, Field(description="the offset in definitions.events behind the rules it was mapped by")]
    message: dict[str, Any]


class ExplainView(BaseModel):
    """A profile, and all that is behind it."""

    profile: ProfileView
    messages: list[MessageView]


class ForgottenView(BaseModel):
    """What was forgotten: everything said up to `at` of the identities with these hashes (SHA-256 of `kind:value`)."""

    at: datetime
    identities: int
    key_hashes: list[str]


class ProfileQuery(Query):
    """When to look."""

    as_of: Annotated[Moment | None, Field(description="as it was then, by the times of the messages")] = None


async def get_profile(call: Call[ProfileQuery, None]) -> web.Response:
    """Return a profile, now or as it was."""
    key = _ranked(call)
    if call.query.as_of is None:
        return answer(call, _view(await _root(call, key)))
    root = await _root(call, key)
    behind = await _behind(call, root)
    then = await call.api.past.as_of(behind, key, (call.query.as_of - EPOCH) // MICROSECOND)
    if not then.cells and not then.edges:
        raise not_found("profile", f"{shown_key(key)} as of {call.query.as_of.isoformat()}")
    return answer(call, _view(then))


async def forget_profile(call: Call[Query, None]) -> web.Response:
    """Forget a person: no message up to now is ever mapped again, and what is known is dropped.

    Also an identity that nothing is known of can be forgotten: then what comes in later about its past isn't mapped.
    """
    key, at = _ranked(call), call.api.clock()
    identities = await _identities(call, key)
    for _ in range(MOST_ROUNDS):
        hashes = tuple(sorted(key_hash(shown_key(each)) for each in identities))
        proof = await outcome(call, ForgetPerson(**envelope(call, FORGOTTEN, None), key_hashes=hashes, at=at))
        await asyncio.sleep(ROUND_SECONDS)  # what lanes had under way has arrived by then
        found = await _identities(call, key) | identities
        if found == identities:
            break
        identities = found
    await _drop(call, identities, (at - EPOCH) // MICROSECOND)
    view = ForgottenView(at=at, identities=len(identities), key_hashes=list(hashes))
    return answer(call, view, message="forgotten" if proof else "accepted; it holds as soon as it is visible")


async def _identities(call: Call[Any, Any], key: str) -> set[str]:
    asking: Asking = call.api.asking
    try:
        root = await asking.root(key)
    except NobodyAnswers as error:
        raise _unreachable(error) from error
    return {key, *(root.identities() if root else ())}


async def _drop(call: Call[Any, Any], identities: set[str], moment_micros: int) -> None:
    """Tell the node of each identity to forget, and wait until each has."""
    together = sorted(identities)
    told: dict[int, Told] = defaultdict(Told)
    partitions = call.api.settings.partitions
    for each in together:
        told[partition_of_key(each, partitions)].forget.append((each, moment_micros, together))
    records = [
        Outgoing(UPDATES_REALTIME.name, encode(NodeBatch(payload=encode_told(each))), partition=partition)
        for partition, each in told.items()
    ]
    intake: Intake = call.api.intake
    asking: Asking = call.api.asking
    try:
        await intake.write(records)
        async with asyncio.timeout(DROP_SECONDS):
            pause = SHORTEST_LOOK
            while any(node is None or node.forgotten < moment_micros for node in await asking.nodes(together)):
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_LOOK)
    except (NotSentError, NotConfirmedError, NobodyAnswers, TimeoutError) as error:
        detail = "the person will not come back, but it isn't known yet whether all is dropped: repeat the request"
        raise Problem(503, "not_dropped_yet", detail, headers={"Retry-After": "2"}) from error


async def explain_profile(call: Call[Query, None]) -> web.Response:
    """Return a profile with the raw messages, rules and links behind it."""
    root = await _root(call, _ranked(call))
    messages = [_message(each) for each in await _behind(call, root)]
    return answer(call, ExplainView(profile=_view(root), messages=messages))


def _ranked(call: Call[Any, Any]) -> str:
    key = call.path("key")
    kind, colon, value = key.partition(":")
    ranks = identity_of(call.api.rules.rules).ranks()
    if not colon or not value:
        message = "an identity is written `kind:value`, such as email:ada@example.com"
        raise invalid([FieldError("/key", "bad_identity", message)])
    if kind not in ranks:
        known = ", ".join(sorted(ranks)) or "none yet"
        raise not_found("profile", f"{key}; the kinds of identities are: {known}")
    return f"{ranks[kind]:02d}:{key}"


async def _root(call: Call[Any, Any], key: str) -> Node:
    asking: Asking = call.api.asking
    try:
        root = await asking.root(key)
    except NobodyAnswers as error:
        raise _unreachable(error) from error
    if root is None or not (root.cells or root.edges):
        raise not_found("profile", shown_key(key))
    return root


async def _behind(call: Call[Any, Any], root: Node) -> Sequence[Behind]:
    past: Past = call.api.past
    try:
        return await past.behind(root.identities())
    except NobodyAnswers as error:
        raise _unreachable(error) from error
    except TooMuchError as error:
        raise Problem(422, "too_many_messages", f"{error}; that is more than one answer can look at") from error


def _unreachable(error: NobodyAnswers) -> Problem:
    return Problem(503, "profiles_unreachable", f"{error}; ask again in a moment", headers={"Retry-After": "1"})


def _view(root: Node) -> ProfileView:
    profile: Profile = profile_of(root.key, root.cells, root.edges)
    return ProfileView(
        id=profile.key,
        identities=list(profile.identities),
        attributes={
            each.name: AttributeView(value=each.value, merge=each.merge, **_evidence(each.evidence))
            for each in profile.attributes
        },
        links=[LinkView(identities=(each.one, each.other), **_evidence(each.evidence)) for each in profile.links],
    )


def _evidence(evidence: Evidence) -> dict[str, Any]:
    facts = asdict(evidence)
    return {"timestamp": moment(facts.pop("at")), **facts}


def _message(behind: Behind) -> MessageView:
    return MessageView(
        topic=behind.topic,
        partition=behind.partition,
        offset=behind.offset,
        message_id=behind.message_id,
        stream=behind.stream,
        job_id=behind.job_id or None,
        timestamp=moment(behind.at),
        identities=[shown_key(each) for each in (behind.key, *behind.links)],
        rules_at=behind.rules_at,
        message=dict(behind.message),
    )


ROUTES: Final = (
    Route(
        method="GET",
        path="/v2/profile/{key}",
        handler=get_profile,
        role="viewer",
        tag="profiles",
        summary="Look at a profile by any of its identities, now or as of a moment",
        query=ProfileQuery,
        answers={200: Answer("the profile", ProfileView)},
        problems=(404, 422, 503),
    ),
    Route(
        method="DELETE",
        path="/v2/profile/{key}",
        handler=forget_profile,
        role="admin",
        tag="profiles",
        summary="Forget a person, in every replay and rebuild to come",
        headers=(PREFER,),
        answers={200: Answer("what was forgotten", ForgottenView)},
        problems=(404, 422, 503),
    ),
    Route(
        method="GET",
        path="/v2/profile/{key}/explain",
        handler=explain_profile,
        role="viewer",
        tag="profiles",
        summary="A profile with the raw messages, rules and links behind it",
        answers={200: Answer("the profile and all that is behind it", ExplainView)},
        problems=(404, 422, 503),
    ),
)
