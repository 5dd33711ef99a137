"""JSON views of rebuilds."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, JsonValue, ValidationError

from app.api.routing.responses import View
from app.definitions.rebuild_catalog import RebuildRecord
from app.rebuild.progress import RebuildPhase, RebuildProgress
from projections.definitions.rebuild_spec import Scope
from projections.definitions.rules import Forgotten, key_hashes
from projections.definitions.spec_summary import spec_in_words
from schemas.definitions import IDENTITY, REBUILD, stream_of
from schemas.instants import moment

RebuildStatus = Literal["under_way", "ready", "promoted", "discarded"]


class ExclusionView(BaseModel):
    """An excluded job or upload: its messages that arrived before a moment."""

    job_id: str
    before: datetime


class RebuildSpecView(BaseModel):
    """The rules that profiles are built by: versions of definitions, and the messages to include."""

    identity: int | None
    mappings: Annotated[dict[str, int], Field(description="versions by stream; other streams have no mapping")]
    since: datetime | None
    until: Annotated[datetime | None, Field(description="messages about the time since `until_set_at` are included")]
    until_set_at: datetime | None
    excluded: list[ExclusionView]
    in_words: list[str]


class RebuildItem(View):
    """A rebuild in a list."""

    id: str
    status: Annotated[RebuildStatus, Field(description="`ready` can be promoted or discarded")]
    note: str
    spec: RebuildSpecView
    started_at: datetime
    started_by: str
    ready_at: Annotated[datetime | None, Field(description="time of the latest comparison")]
    ended_at: Annotated[datetime | None, Field(description="time of the promotion or discard")]
    ended_by: str
    generation: Annotated[int | None, Field(description="of the promoted profiles")]
    live: Annotated[bool, Field(description="whether look-ups are answered from its profiles")]


class ProgressView(View):
    """The progress of a rebuild."""

    phase: RebuildPhase
    ratio: Annotated[float | None, Field(description="of all raw messages, by offsets, from 0 to 1")]
    messages: Annotated[int, Field(description="messages read")]
    messages_per_second: float
    eta_seconds: Annotated[float | None, Field(description="until it has caught up; null: unknown")]
    waiting_for: Annotated[list[str], Field(description="raw partitions that are not mapped by its rules yet")]
    started_at: datetime | None
    updated_at: datetime | None


class ProfileSetView(BaseModel):
    """One side of a comparison. The digest covers all compared profiles, in any order."""

    profiles: int
    digest: str


class CountsView(BaseModel):
    """Profiles by the kind of difference; split ones are counted as live, merged ones as rebuilt."""

    unchanged: int
    changed: int
    added: int
    removed: int
    split: int
    merged: int
    changing: Annotated[int, Field(description="named by messages during the comparison, so not compared")]
    evidence_changed: Annotated[int, Field(description="of the unchanged ones: by other messages, times or links")]


class ReportView(BaseModel):
    """The differences of the rebuilt profiles from the live ones, with up to 20 samples of each kind."""

    compared_at: datetime
    skipped_reason: Annotated[str | None, Field(description="why nothing was compared; all else is null")] = None
    equal: Annotated[bool | None, Field(description="whether both sides are equal, to the byte")] = None
    live: ProfileSetView | None = None
    rebuilt: ProfileSetView | None = None
    counts: CountsView | None = None
    samples: dict[str, list[dict[str, JsonValue]]] = {}


class RebuildView(RebuildItem):
    """A rebuild with its progress and report. Only the reports of the latest ten rebuilds are kept."""

    progress: Annotated[ProgressView | None, Field(description="null: queued, or over")]
    report: Annotated[ReportView | None, Field(description="the differences from the profiles that were live then")]


STATUS: Final[Mapping[str, RebuildStatus]] = {
    "building": "under_way",
    "ready": "ready",
    "promoted": "promoted",
    "discarded": "discarded",
}


def public_id(definition_id: str) -> str:
    """Return the id of a rebuild in the API."""
    return definition_id.removeprefix(REBUILD)


def rebuild_item(record: RebuildRecord, active: Mapping[str, int], live: int) -> RebuildItem:
    """Return a rebuild for a list, given the active versions and the live generation."""
    rebuild = record.rebuild
    baseline = active if rebuild.is_under_way else record.versions  # the active versions are irrelevant once it is over
    return RebuildItem.of(
        record,
        id=public_id(rebuild.definition_id),
        status=STATUS[rebuild.status],
        spec=_spec_view(record.versions, record.scope, baseline),
        generation=rebuild.generation or None,
        live=0 < rebuild.generation == live,
    )


def rebuild_view(
    record: RebuildRecord, active: Mapping[str, int], live: int, progress: bytes | None, forgotten: Forgotten
) -> RebuildView:
    """Return a rebuild with progress and report; samples of people who were forgotten since are left out."""
    is_over = record.rebuild.status == "discarded" or 0 < record.rebuild.generation < live
    return RebuildView.of(
        rebuild_item(record, active, live),
        progress=None if progress is None or is_over else _progress(RebuildProgress.decode(progress)),
        report=_report(record.report, forgotten),
    )


def _spec_view(versions: Mapping[str, int], scope: Scope, baseline: Mapping[str, int]) -> RebuildSpecView:
    return RebuildSpecView(
        identity=versions.get(IDENTITY),
        mappings={stream: versions[name] for name in sorted(versions) if (stream := stream_of(name)) is not None},
        since=None if scope.since is None else moment(scope.since),
        until=None if scope.until is None else moment(scope.until),
        until_set_at=None if scope.until is None else moment(scope.until_set_at),
        excluded=[ExclusionView(job_id=job, before=moment(at)) for job, at in sorted(scope.excluded.items())],
        in_words=list(spec_in_words(versions, scope, baseline)),
    )


def _progress(progress: RebuildProgress) -> ProgressView:
    left = progress.seconds_left
    return ProgressView.of(
        progress,
        ratio=round(progress.read / progress.total, 4) if progress.total else None,
        messages_per_second=round(progress.rate, 1),
        eta_seconds=None if left is None or progress.phase != "building" else round(left, 1),
    )


def _report(text: str, forgotten: Forgotten) -> ReportView | None:
    """Return the builder's report; None when there is none yet, or it is not kept any more."""
    try:
        report = ReportView.model_validate_json(text)
    except ValidationError:
        return None

    def is_forgotten(sample: Any) -> bool:
        moments = (forgotten.get(name) for identity in _identities(sample) for name in key_hashes(identity))
        return any(at is not None and at >= report.compared_at for at in moments)

    kept = {
        kind: [sample for sample in samples if not is_forgotten(sample)] for kind, samples in report.samples.items()
    }
    return report.model_copy(update={"samples": {kind: samples for kind, samples in kept.items() if samples}})


def _identities(sample: Mapping[str, Any]) -> Iterator[str]:
    """Yield the identities that a sample names."""
    yield sample["profile"]
    for part in (sample, sample.get("before", {}), sample.get("after", {})):
        for name in ("identities", "split_into", "merged_from"):
            yield from part.get(name, ())
