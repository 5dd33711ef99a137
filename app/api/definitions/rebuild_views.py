"""How rebuilds look in JSON."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, JsonValue, ValidationError

from app.definitions.rebuild_catalog import RebuildRecord
from app.rebuild.progress import Phase, RebuildProgress
from projections.definitions.rebuild_spec import Scope
from projections.definitions.rules import Forgotten, key_hash
from projections.definitions.spec_summary import IDENTITY_RULES, in_words
from schemas.definitions import REBUILD
from schemas.instants import moment

RebuildStatus = Literal["under_way", "ready", "promoted", "discarded"]


class ExclusionsView(BaseModel):
    """A job or upload that is left out: what it brought before a moment."""

    job_id: str
    before: datetime


class RebuildSpecView(BaseModel):
    """What profiles are made by: versions of rules, and which messages count."""

    identity: int | None
    mappings: Annotated[dict[str, int], Field(description="versions by stream; what isn't here has no mapping")]
    since: datetime | None
    until: Annotated[datetime | None, Field(description="what happens since `until_set_at` counts all the same")]
    until_set_at: datetime | None
    left_out: list[ExclusionsView]
    in_words: list[str]


class RebuildItem(BaseModel):
    """A rebuild in the list."""

    id: str
    status: Annotated[RebuildStatus, Field(description="`ready` can be promoted or discarded")]
    note: str
    recipe: RebuildSpecView
    started_at: datetime
    started_by: str
    ready_at: Annotated[datetime | None, Field(description="when it was compared last")]
    ended_at: Annotated[datetime | None, Field(description="when it was promoted or discarded")]
    ended_by: str
    generation: Annotated[int | None, Field(description="of the profiles that it became")]
    live: Annotated[bool, Field(description="whether look-ups are answered from what it built")]


class ProgressView(BaseModel):
    """How far it is."""

    phase: Phase
    share: Annotated[float | None, Field(description="of all raw messages, by offsets, from 0 to 1")]
    messages: Annotated[int, Field(description="that were read")]
    messages_per_second: float
    eta_seconds: Annotated[float | None, Field(description="until it has caught up; null: unknown")]
    waiting_for: Annotated[list[str], Field(description="raw partitions that aren't mapped by its rules yet")]
    began_at: datetime | None
    updated_at: datetime | None


class ProfileSetView(BaseModel):
    """One side of a comparison. The digest is of all that its profiles say, in whatever order, but of moving ones."""

    profiles: int
    digest: str


class CountsView(BaseModel):
    """What becomes of profiles; those that split are counted as they are live, merged ones as they were rebuilt."""

    unchanged: int
    changed: int
    added: int
    removed: int
    split: int
    merged: int
    moving: Annotated[int, Field(description="messages named them meanwhile, so nothing is said of them")]
    other_evidence: Annotated[int, Field(description="of the unchanged ones: by other messages, times or links")]


class ReportView(BaseModel):
    """How what was built differs from what was live. Of every kind but unchanged ones there are up to 20 examples."""

    compared_at: datetime
    not_compared: Annotated[str | None, Field(description="why nothing was compared; all else is null")] = None
    equal: Annotated[bool | None, Field(description="whether both say the same, to the byte")] = None
    live: ProfileSetView | None = None
    rebuilt: ProfileSetView | None = None
    counts: CountsView | None = None
    samples: dict[str, list[dict[str, JsonValue]]] = {}


class RebuildView(RebuildItem):
    """A rebuild, with how far it is and what came of comparing it. Only of the latest ten the report is kept."""

    progress: Annotated[ProgressView | None, Field(description="null: nobody has begun to work on it, or it is over")]
    report: Annotated[ReportView | None, Field(description="how it differs from what was live then")]


STATUS: Final[Mapping[str, RebuildStatus]] = {
    "building": "under_way",
    "ready": "ready",
    "promoted": "promoted",
    "discarded": "discarded",
}


def public_id(definition_id: str) -> str:
    """Return a rebuild's id as people see it."""
    return definition_id.removeprefix(REBUILD)


def rebuild_item(mark: RebuildRecord, in_force: Mapping[str, int], live: int) -> RebuildItem:
    """Return a rebuild for the list, beside the versions in force and the generation that is live."""
    return RebuildItem(**_facts(mark, in_force, live))


def rebuild_view(
    mark: RebuildRecord, in_force: Mapping[str, int], live: int, progress: bytes | None, forgotten: Forgotten
) -> RebuildView:
    """Return a rebuild with all that is known of it, but for examples of people who were forgotten since."""
    facts = _facts(mark, in_force, live)
    is_over = mark.rebuild.status == "discarded" or 0 < mark.rebuild.generation < live
    return RebuildView(
        **facts,
        progress=None if progress is None or is_over else _progress(RebuildProgress.read_back(progress)),
        report=_report(mark.report, forgotten),
    )


def _facts(mark: RebuildRecord, in_force: Mapping[str, int], live: int) -> dict[str, Any]:
    rebuild = mark.rebuild
    beside = in_force if rebuild.is_under_way else mark.versions  # of what is over, what is in force now says nothing
    return {
        "id": public_id(rebuild.definition_id),
        "status": STATUS[rebuild.status],
        "note": mark.note,
        "recipe": _recipe(mark.versions, mark.scope, in_words(mark.versions, mark.scope, beside)),
        "started_at": mark.started_at,
        "started_by": mark.started_by,
        "ready_at": mark.ready_at,
        "ended_at": mark.ended_at,
        "ended_by": mark.ended_by,
        "generation": rebuild.generation or None,
        "live": 0 < rebuild.generation == live,
    }


def _recipe(versions: Mapping[str, int], scope: Scope, said: Sequence[str]) -> RebuildSpecView:
    return RebuildSpecView(
        identity=versions.get(IDENTITY_RULES),
        mappings={stream: versions[stream] for stream in sorted(versions) if stream != IDENTITY_RULES},
        since=None if scope.since is None else moment(scope.since),
        until=None if scope.until is None else moment(scope.until),
        until_set_at=None if scope.until is None else moment(scope.began),
        left_out=[ExclusionsView(job_id=job, before=moment(at)) for job, at in sorted(scope.left_out.items())],
        in_words=list(said),
    )


def _progress(progress: RebuildProgress) -> ProgressView:
    left = progress.seconds_left
    return ProgressView(
        phase=progress.phase,
        share=round(progress.read / progress.total, 4) if progress.total else None,
        messages=progress.messages,
        messages_per_second=round(progress.rate, 1),
        eta_seconds=None if left is None or progress.phase != "building" else round(left, 1),
        waiting_for=progress.waiting_for,
        began_at=progress.began_at,
        updated_at=progress.updated_at,
    )


def _report(text: str, forgotten: Forgotten) -> ReportView | None:
    """Return what the builder has said; None when it said nothing yet, or it isn't kept any more."""
    try:
        found = ReportView.model_validate_json(text)
    except ValidationError:
        return None

    def is_forgotten(sample: Any) -> bool:
        known = (forgotten.get(key_hash(each)) for each in _identities(sample))
        return any(each is not None and each >= found.compared_at for each in known)

    left = {name: [each for each in those if not is_forgotten(each)] for name, those in found.samples.items()}
    return found.model_copy(update={"samples": {name: those for name, those in left.items() if those}})


def _identities(sample: Mapping[str, Any]) -> Iterator[str]:
    """Yield whom an example names."""
    yield sample["profile"]
    for part in (sample, sample.get("before", {}), sample.get("after", {})):
        for name in ("identities", "into", "of"):
            yield from part.get(name, ())
