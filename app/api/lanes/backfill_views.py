"""JSON views of a backfill preview, and its numbers as sentences."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, Field

from app.api.collect.requests import RejectedView
from app.api.definitions.mapping_preview import FaultCount
from app.api.routing.responses import View
from app.sentences.sentence import counted
from projections.definitions.rules import Rules
from projections.jobs.state import Job

DAY: Final = 86_400
HOUR: Final = 3_600
MINUTE: Final = 60


class SampleView(View):
    """The messages of the sample. Only its first messages are `tried`; the counts below are of those."""

    messages: int
    rejected: Annotated[int, Field(description="invalid records")]
    first_rejects: list[RejectedView]
    tried: int
    applicable: Annotated[int, Field(description="messages that would be applied to profiles")]
    undated: Annotated[int, Field(description="applicable messages without a timestamp: they get the current time")]
    without_identity: int
    future: Annotated[int, Field(description="messages too far in the future: they would be rejected")]
    out_of_scope: Annotated[int, Field(description="messages about a time that a rebuild has excluded")]
    forgotten: Annotated[int, Field(description="messages about people who were forgotten since")]
    faults: list[FaultCount]


class AttributeImpactView(View):
    """The number of profiles in which an attribute would get its first value, and in which another value."""

    filled: int
    replaced: int


class ImpactView(View):
    """The impact on the profiles that the tried messages name."""

    added: int
    changed: int
    merged: Annotated[int, Field(description="changed profiles that would be merged from several")]
    unchanged: int
    attributes: dict[str, AttributeImpactView]
    older_messages: Annotated[int, Field(description="messages older than the newest message of their profile")]


class BackfillLaneView(BaseModel):
    """The state of the backfill lane."""

    paused: bool
    lag: Annotated[int, Field(description="lag in records")]
    messages_per_second: Annotated[float | None, Field(description="in the last minute, while busy; null: not busy")]
    eta_seconds: Annotated[float | None, Field(description="estimated time until all is mapped; null: unknown")]


class WarningView(BaseModel):
    """A finding to review before the backfill."""

    code: str
    message: str


class BackfillPreview(BaseModel):
    """The estimated impact of a backfill. `oldest_at` and `newest_at` are of the query, else of the tried messages."""

    stream: str
    messages: Annotated[int, Field(description="total, of the query, else of the sample")]
    oldest_at: datetime | None
    newest_at: datetime | None
    oldest_age_seconds: float | None
    newest_age_seconds: float | None
    needed: Annotated[bool | None, Field(description="whether the sample would change any profile; null: unknown")]
    sample: SampleView | None
    profiles: ImpactView | None
    lane: BackfillLaneView | None
    in_words: list[str] = []
    warnings: list[WarningView] = []


def preview_in_words(preview: BackfillPreview) -> list[str]:
    """Return the preview as sentences."""
    return [*_volume(preview), *_impact(preview), *_duration(preview)]


def _volume(preview: BackfillPreview) -> Iterator[str]:
    ages = [
        approximate_duration(age) for age in (preview.oldest_age_seconds, preview.newest_age_seconds) if age is not None
    ]
    age = f", {' to '.join(dict.fromkeys(ages))} old" if ages else ""
    yield f"{counted(preview.messages, 'message')}{age}."


def _impact(preview: BackfillPreview) -> Iterator[str]:
    profiles, sample = preview.profiles, preview.sample
    if profiles is None or sample is None:
        return
    total = profiles.added + profiles.changed + profiles.unchanged
    yield (
        f"Sample of {counted(sample.applicable, 'applicable message')}: {counted(total, 'profile')}, "
        f"{profiles.added:,} new, {profiles.changed:,} changed, {profiles.unchanged:,} unchanged."
    )
    if profiles.merged:
        yield f"{counted(profiles.merged, 'changed profile')} would be merged from several."
    for name, attribute in profiles.attributes.items():
        yield f"{name}: first value in {counted(attribute.filled, 'profile')}, another value in {attribute.replaced:,}."
    if profiles.older_messages:
        yield (
            f"{counted(profiles.older_messages, 'message')} older than the newest message of the profile: no effect on "
            "attributes that keep the latest value."
        )
    if preview.needed is False:
        yield "The sample would change nothing: this backfill is not needed."


def _duration(preview: BackfillPreview) -> Iterator[str]:
    lane = preview.lane
    if lane is None:
        return
    if lane.messages_per_second and lane.eta_seconds is not None:
        rate, duration = f"{lane.messages_per_second:,.0f} messages/s", approximate_duration(lane.eta_seconds)
        yield f"At {rate}, the rate of the lane in the last minute, mapping takes about {duration}."
    else:
        yield "Duration unknown: the lane was not busy in the last minute, so its rate was not measured."


def warnings(preview: BackfillPreview, rules: Rules) -> Iterator[WarningView]:
    """Yield what to review before the backfill."""
    if preview.stream not in rules.mappings:
        yield warning("no_mapping", f"stream {preview.stream} has no mapping, so no profiles would be updated")
    if preview.lane is None:
        yield warning("unknown_lag", "the lag of the lanes is unknown; try again")
    elif preview.lane.paused:
        yield warning("lane_paused", "the backfill lane is paused: messages wait until it is resumed")
    if preview.sample is None:
        yield warning("no_sample", "without a sample the impact on profiles is unknown")
    else:
        yield from _sample_warnings(preview.sample)


def _sample_warnings(sample: SampleView) -> Iterator[WarningView]:
    tried = f"of {sample.tried:,} tried messages"
    counts: dict[str, tuple[int, str]] = {
        "rejected": (sample.rejected, f"of {sample.messages + sample.rejected:,} records are invalid"),
        "undated": (sample.undated, f"{tried} have no timestamp and would get the current time"),
        "without_identity": (
            sample.without_identity,
            f"{tried} have no identity and would not affect any profile",
        ),
        "future": (sample.future, f"{tried} are more than a day in the future and would be rejected"),
        "out_of_scope": (sample.out_of_scope, f"{tried} are about a time that a rebuild has excluded"),
        "forgotten": (sample.forgotten, f"{tried} are about people who were forgotten since"),
        "faults": (sum(fault.messages for fault in sample.faults), f"values {tried} cannot be used: see `faults`"),
    }
    for code, (count, text) in counts.items():
        if count:
            yield warning(code, f"{count:,} {text}")


def duplicate_warning(job: Job) -> WarningView:
    """Return the warning about an earlier upload of the same file."""
    upload = f"{job.name} was already uploaded to the stream: {job.job_id}, {job.updated_at:%Y-%m-%d %H:%M:%S} UTC"
    return warning("duplicate_file", f"{upload}. A file that is uploaded twice counts twice without an Idempotency-Key")


def warning(code: str, message: str) -> WarningView:
    """Return a warning."""
    return WarningView(code=code, message=message)


def approximate_duration(seconds: float) -> str:
    """Return a duration in its largest unit."""
    for size, unit in ((365 * DAY, "years"), (DAY, "days"), (HOUR, "hours"), (MINUTE, "minutes")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(0, round(seconds))} seconds"
