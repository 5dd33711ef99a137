"""How the guidance before a backfill looks in JSON, and in plain words: every sentence is made of the numbers here."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, Field

from app.api.collect.requests import RejectedView
from app.api.definitions.mapping_preview import FaultCount

DAY: Final = 86_400
HOUR: Final = 3_600
MINUTE: Final = 60


class SampleView(BaseModel):
    """What the sample holds. Only its first messages are `tried`; the counts below are of those."""

    messages: int
    rejected: Annotated[int, Field(description="records that can't be taken at all")]
    first_rejects: list[RejectedView]
    tried: int
    counting: Annotated[int, Field(description="messages that name somebody, and would count")]
    undated: Annotated[int, Field(description="of those: without a time, so that they would count as of now")]
    nobody: Annotated[int, Field(description="messages that name no identity")]
    future: Annotated[int, Field(description="messages too far in the future to be taken")]
    out_of_scope: Annotated[int, Field(description="messages about a time that a rebuild has left out")]
    forgotten: Annotated[int, Field(description="messages about people who were forgotten since")]
    faults: list[FaultCount]


class FilledView(BaseModel):
    """In how many profiles an attribute would get its first value, and in how many another one."""

    filled: int
    replaced: int


class ImpactView(BaseModel):
    """What would become of the profiles that the tried messages name."""

    added: int
    changed: int
    joined: Annotated[int, Field(description="of those changed: made of several that are apart now")]
    unchanged: int
    attributes: dict[str, FilledView]
    older_messages: Annotated[int, Field(description="messages older than the newest that is known of their profile")]


class BackfillLaneView(BaseModel):
    """The lane that history goes through."""

    paused: bool
    records_behind: int
    messages_per_second: Annotated[float | None, Field(description="while busy, of the last minute; null: it wasn't")]
    seconds: Annotated[float | None, Field(description="that mapping takes, behind what waits; null: unknown")]


class WarningView(BaseModel):
    """Something to look at first."""

    code: str
    message: str


class PlanView(BaseModel):
    """What is to be known before history is sent. `oldest` and `newest` are of the tried messages, or as asked."""

    stream: str
    messages: Annotated[int, Field(description="in all: as asked, else those of the sample")]
    oldest: datetime | None
    newest: datetime | None
    oldest_age_seconds: float | None
    newest_age_seconds: float | None
    needed: Annotated[bool | None, Field(description="whether any profile would change, by the sample; null: unknown")]
    sample: SampleView | None
    profiles: ImpactView | None
    lane: BackfillLaneView | None
    in_words: list[str] = []
    warnings: list[WarningView] = []


def in_words(plan: PlanView) -> list[str]:
    """Return the plan as sentences."""
    return [*_how_much(plan), *_what_changes(plan), *_how_long(plan)]


def _how_much(plan: PlanView) -> Iterator[str]:
    ages = [length(each) for each in (plan.oldest_age_seconds, plan.newest_age_seconds) if each is not None]
    old = f", {' to '.join(dict.fromkeys(ages))} old" if ages else ""
    yield f"{many(plan.messages, 'message')}{old}."


def _what_changes(plan: PlanView) -> Iterator[str]:
    profiles, sample = plan.profiles, plan.sample
    if profiles is None or sample is None:
        return
    whole = profiles.added + profiles.changed + profiles.unchanged
    counting = "1 message that counts" if sample.counting == 1 else f"{sample.counting:,} messages that count"
    by = f"By the sample ({counting}), of {many(whole, 'profile')}"
    changes = f"{profiles.added:,} would be new, {profiles.changed:,} would change"
    yield f"{by} {changes}, {profiles.unchanged:,} would stay as they are."
    if profiles.joined:
        yield f"Of those that change, {profiles.joined:,} would be made of several that are apart now."
    for name, each in profiles.attributes.items():
        yield f"{name}: {many(each.filled, 'profile')} would get a first value, {each.replaced:,} another one."
    if profiles.older_messages:
        older = f"Older than the newest that is known of their profile: {many(profiles.older_messages, 'message')}"
        yield f"{older}. Where the newest value counts, they change nothing."
    if plan.needed is False:
        yield "By the sample nothing would change: this backfill isn't needed."


def _how_long(plan: PlanView) -> Iterator[str]:
    lane = plan.lane
    if lane is None:
        return
    if lane.messages_per_second and lane.seconds is not None:
        yield (
            f"At the {lane.messages_per_second:,.0f} messages a second that the lane took in the last minute, mapping "
            f"takes about {length(lane.seconds)}."
        )
    else:
        yield "How long it takes isn't known: the lane wasn't busy in the last minute, so nothing was measured."


def many(count: int, what: str) -> str:
    """Return a count of something."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def length(seconds: float) -> str:
    """Return a length of time in the largest unit that there is at least one of."""
    for size, unit in ((365 * DAY, "years"), (DAY, "days"), (HOUR, "hours"), (MINUTE, "minutes")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(0, round(seconds))} seconds"
