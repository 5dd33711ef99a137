"""JSON views of definitions."""

from datetime import datetime

import orjson
from pydantic import BaseModel, JsonValue

from app.api.routing.responses import View
from app.definitions.catalog import DefinitionCatalog, VersionRecord, VersionStatus
from projections.definitions.definition import Definition
from projections.definitions.rebuild_spec import VersionedBody
from schemas.definitions import stream_of


class DefinitionItem(View):
    """A definition in a list; `version` is the newest one, as in the `ETag`."""

    id: str
    kind: str
    stream: str | None
    version: int
    applied_version: int | None
    draft_version: int | None
    updated_at: datetime


class VersionView(View):
    """The status of a version."""

    version: int
    status: VersionStatus
    drafted_at: datetime
    drafted_by: str
    applied_at: datetime | None
    applied_by: str


class BodyView(VersionView):
    """A version with its body."""

    body: dict[str, JsonValue]


class DefinitionView(DefinitionItem):
    """A definition with its active version, its draft, and the status of its versions, newest first."""

    applied: BodyView | None
    draft: BodyView | None
    requested: BodyView | None  # the version of the query
    versions: list[VersionView]


class ChangeView(View):
    """One difference: a JSON pointer into the new body, or into the old one for a removed part."""

    pointer: str
    kind: str
    before: JsonValue
    after: JsonValue


class DiffView(BaseModel):
    """The differences of two versions; version 0 is empty."""

    before: int
    after: int
    changes: list[ChangeView]


def definition_item(definition: Definition) -> DefinitionItem:
    """Return a definition for a list."""
    stream = stream_of(definition.definition_id)
    return DefinitionItem.of(
        definition,
        id=definition.definition_id,
        kind=definition.definition_id if stream is None else "mapping",
        stream=stream,
        applied_version=definition.applied.version if definition.applied else None,
        draft_version=definition.draft.version if definition.draft else None,
    )


def definition_view(
    catalog: DefinitionCatalog, definition: Definition, requested: BodyView | None = None
) -> DefinitionView:
    """Return a definition with its versions."""
    records = catalog.versions(definition.definition_id)

    def body(version: VersionedBody | None) -> BodyView | None:
        return body_view(records[version.version], version.body) if version else None

    newest_first = sorted(records.values(), key=lambda record: -record.version)
    return DefinitionView(
        **definition_item(definition).model_dump(),
        applied=body(definition.applied),
        draft=body(definition.draft),
        requested=requested,
        versions=[VersionView.of(record) for record in newest_first],
    )


def body_view(record: VersionRecord, body: str) -> BodyView:
    """Return a version with its body."""
    return BodyView.of(record, body=orjson.loads(body))
