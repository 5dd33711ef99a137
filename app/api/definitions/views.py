"""How definitions look in JSON."""

from datetime import datetime
from typing import Any

import orjson
from pydantic import BaseModel, JsonValue

from app.definitions.catalog import DefinitionCatalog, VersionRecord, VersionStatus
from projections.definitions.definition import Definition
from projections.definitions.rebuild_spec import AppliedBody
from projections.views.json_diff import Change
from schemas.definitions import stream_of


class DefinitionItem(BaseModel):
    """A definition in the list; `version` is the newest, as the ETag."""

    id: str
    kind: str
    stream: str | None
    version: int
    applied_version: int | None
    draft_version: int | None
    updated_at: datetime


class VersionView(BaseModel):
    """What became of a version."""

    version: int
    status: VersionStatus
    drafted_at: datetime
    drafted_by: str
    applied_at: datetime | None
    applied_by: str


class BodyView(VersionView):
    """A version with what it says."""

    body: dict[str, JsonValue]


class DefinitionView(DefinitionItem):
    """A definition: what is in force, what is drafted, and its versions, newest first."""

    applied: BodyView | None
    draft: BodyView | None
    asked: BodyView | None  # the one that `?version=` asks for
    versions: list[VersionView]


class ChangeView(BaseModel):
    """One difference: a JSON pointer into the new body, or into the old one for what was removed."""

    pointer: str
    kind: str
    before: JsonValue
    after: JsonValue


class DiffView(BaseModel):
    """How two versions differ; version 0 says nothing."""

    before: int
    after: int
    changes: list[ChangeView]


def definition_item(found: Definition) -> DefinitionItem:
    """Return a definition for the list."""
    stream = stream_of(found.definition_id)
    return DefinitionItem(
        id=found.definition_id,
        kind=found.definition_id if stream is None else "mapping",
        stream=stream,
        version=found.version,
        applied_version=found.applied.version if found.applied else None,
        draft_version=found.draft.version if found.draft else None,
        updated_at=found.updated_at,
    )


def definition_view(catalog: DefinitionCatalog, found: Definition, asked: BodyView | None = None) -> DefinitionView:
    """Return a definition with all that is known of it."""
    marks = catalog.versions(found.definition_id)

    def shown(which: AppliedBody | None) -> BodyView | None:
        return body_view(marks[which.version], which.body) if which else None

    return DefinitionView(
        **definition_item(found).model_dump(),
        applied=shown(found.applied),
        draft=shown(found.draft),
        asked=asked,
        versions=[VersionView(**_facts(each)) for each in sorted(marks.values(), key=lambda each: -each.version)],
    )


def body_view(mark: VersionRecord, body: str) -> BodyView:
    """Return a version with its body."""
    return BodyView(**_facts(mark), body=orjson.loads(body))


def change_view(change: Change) -> ChangeView:
    """Return one difference."""
    return ChangeView(pointer=change.pointer, kind=change.kind, before=change.before, after=change.after)


def _facts(mark: VersionRecord) -> dict[str, Any]:
    return {name: getattr(mark, name) for name in VersionView.model_fields}
