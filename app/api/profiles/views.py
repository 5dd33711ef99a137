"""Profiles and what is behind them, as the API shows them."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, Field

from app.profiles.history import SourceMessage
from projections.definitions.rules import Rules
from projections.profiles.identity_node import Node
from projections.profiles.profile_view import AttributeValue, Evidence, Profile, profile_of, shown_key
from schemas.instants import moment


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
    complete: Annotated[
        bool,
        Field(
            description="false: the profile had as many links between identities as one may have (`max_identities`), "
            "and perhaps more identities, which it doesn't know any more and which are not forgotten; forget each of "
            "them by a request of its own"
        ),
    ]


def profile_view(root: Node, rules: Rules) -> ProfileView:
    """Return a root as people see it; by the rules, which say what is a time."""
    times = _times(rules)
    profile: Profile = profile_of(root.key, root.registers, root.edges)
    return ProfileView(
        id=profile.key,
        identities=list(profile.identities),
        attributes={
            each.name: AttributeView(value=_shown(each, times), merge=each.merge, **_evidence(each.evidence))
            for each in profile.attributes
        },
        links=[LinkView(identities=(each.one, each.other), **_evidence(each.evidence)) for each in profile.links],
    )


def _times(rules: Rules) -> frozenset[str]:
    """Return the attributes that are times: their values are kept as microseconds since 1970 UTC."""
    bodies = (orjson.loads(each.body) for each in rules.mappings.values())
    attributes = (each for body in bodies for each in body["attributes"])
    return frozenset(each["name"] for each in attributes if each.get("type") == "timestamp")


def _shown(attribute: AttributeValue, times: frozenset[str]) -> Any:
    if attribute.name not in times or attribute.merge in {"count", "sum"}:
        return attribute.value
    value = attribute.value
    return [_time(each) for each in value] if isinstance(value, list) else _time(value)


def _time(value: Any) -> Any:
    """Return a time as a moment; what was kept under that name before it was one stays as it is."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    try:
        return moment(value)
    except OverflowError:
        return value


def _evidence(evidence: Evidence) -> dict[str, Any]:
    facts = asdict(evidence)
    return {"timestamp": moment(facts.pop("at")), **facts}


def message_view(behind: SourceMessage) -> MessageView:
    """Return a raw message as people see it."""
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
