"""JSON views of profiles and of the messages behind them."""

from datetime import datetime
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, Field, WithJsonSchema

from app.api.routing.responses import View
from app.api.routing.timestamp_values import timestamp_attributes, timestamp_value
from app.profiles.history import SourceMessage
from projections.definitions.rules import Rules
from projections.profiles.identity_node import Node
from projections.profiles.profile_view import AttributeValue, Profile, profile_of, shown_key
from schemas.instants import moment


class EvidenceView(View):
    """The message that a value or link comes from."""

    timestamp: datetime
    message_id: str
    job_id: str | None


class AttributeView(EvidenceView):
    """One attribute: its value, merge rule and source message."""

    value: Any
    merge: str


class LinkView(EvidenceView):
    """Two identities, and the first message that named both."""

    identities: tuple[str, str]


class ProfileView(BaseModel):
    """A profile. `id` is its best identity; it changes when a better one is linked."""

    id: str
    identities: list[str]
    attributes: dict[str, AttributeView]
    links: list[LinkView]


class MessageView(View):
    """One raw message of a profile: its location, payload and mapping."""

    topic: str
    partition: int
    offset: int
    message_id: str
    stream: str
    job_id: str | None
    timestamp: datetime
    identities: list[str]
    blocked: Annotated[list[str], Field(description="identities that were ignored, as their value is blocked")]
    rules_offset: Annotated[int, Field(description="version of its rules: the next offset in definitions.events")]
    message: Annotated[Any, WithJsonSchema({"type": "object"})]  # as it was sent: parsing it would only cost time


class ExplainView(BaseModel):
    """A profile and a page of its messages: in the order of the topics, and in a page by time."""

    profile: ProfileView
    messages: list[MessageView]


def profile_view(root: Node, rules: Rules) -> ProfileView:
    """Return the profile of a root; the rules determine which attributes are timestamps."""
    timestamps = timestamp_attributes(version.body for version in rules.mappings.values())
    profile: Profile = profile_of(root.key, root.registers, root.edges)
    return ProfileView(
        id=profile.key,
        identities=list(profile.identities),
        attributes={
            attribute.name: AttributeView.of(
                attribute.evidence,
                timestamp=moment(attribute.evidence.at),
                value=_shown(attribute, timestamps),
                merge=attribute.merge,
            )
            for attribute in profile.attributes
        },
        links=[
            LinkView.of(link.evidence, timestamp=moment(link.evidence.at), identities=(link.one, link.other))
            for link in profile.links
        ],
    )


def _shown(attribute: AttributeValue, timestamps: frozenset[str]) -> Any:
    if attribute.name not in timestamps or attribute.merge in {"count", "sum"}:
        return attribute.value
    return timestamp_value(attribute.value)


def message_view(message: SourceMessage) -> MessageView:
    """Return a raw message."""
    return MessageView.of(
        message,
        **message.reference._asdict(),
        message_id=message.raw.message_id,
        message=orjson.Fragment(message.raw.line),
        job_id=message.job_id or None,
        timestamp=moment(message.at),
        identities=[shown_key(key) for key in (message.key, *message.links)],
        blocked=[f"{kind}:{value}" for kind, value in message.blocked],
    )
