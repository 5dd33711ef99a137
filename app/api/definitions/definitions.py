"""Definitions over HTTP: mappings of streams and identity rules, drafted, compared and applied."""

from typing import Annotated, Any, Final

import orjson
from aiohttp import web
from aiokafka.errors import KafkaError
from pydantic import Field, JsonValue, RootModel

from app.api.definitions.commands import definition_response, envelope, overtaken, respond_changed
from app.api.definitions.views import (
    BodyView,
    DefinitionItem,
    DefinitionView,
    DiffView,
    body_view,
    change_view,
    definition_item,
    definition_view,
)
from app.api.http.headers import etag, expected_revision
from app.api.http.problems import ApiProblem, FieldError, invalid, not_found
from app.api.jobs.bodies import canonical
from app.api.routing.commands import ACCEPTED
from app.api.routing.responses import respond
from app.api.routing.routes import IF_MATCH, MAY_MATCH, PREFER, Query, RequestContext, ResponseSpec, Routes
from app.definitions.catalog import VersionLostError, VersionRecord
from projections.definitions.body_checks import InvalidBodyError, check_body
from projections.definitions.definition import Definition, is_definition_id
from projections.mapping.mapping import parse_identity
from projections.views.json_diff import diff
from schemas.definitions import IDENTITY, ApplyDefinition, DiscardDraft, DraftDefinition

Version = Annotated[int, Field(ge=1, lt=10**9)]
Side = Annotated[str, Field(pattern="^(applied|draft|[0-9]{1,9})$", description="a version, `applied` or `draft`")]


class DefinitionQuery(Query):
    """Which version to show beside."""

    version: Annotated[Version | None, Field(description="show this version, too, as `asked`")] = None


class ApplyQuery(Query):
    """Which draft."""

    version: Annotated[Version | None, Field(description="only when the draft is this version")] = None


class DiffQuery(Query):
    """What to compare."""

    from_: Annotated[Side, Field(alias="from")] = "applied"
    to: Side = "draft"


class RulesBody(RootModel[dict[str, JsonValue]]):
    """A mapping's or the identity rules' body."""


ROUTES: Final = Routes("definitions", "/v2/definition", problems=(404,))
DEFINITION: Final = ResponseSpec("the definition", DefinitionView, headers=("ETag",))


@ROUTES("GET", "", "List definitions", ResponseSpec("every definition", list[DefinitionItem]))
async def list_definitions(call: RequestContext[Query, None]) -> web.Response:
    """Return every definition."""
    check_known(call)
    return respond(call, [definition_item(each) for each in call.api.catalog.definitions])


@ROUTES("GET", "/{definition_id}", "Look at a definition", DEFINITION)
async def get_definition(call: RequestContext[DefinitionQuery, None]) -> web.Response:
    """Return a definition, and a version of it that is asked for."""
    found = _found(call)
    asked = None
    if call.query.version is not None:
        asked = await _version(call, found, call.query.version)
    return respond(call, definition_view(call.api.catalog, found, asked), headers=etag(found.version))


@ROUTES(
    "PUT",
    "/{definition_id}/draft",
    "Keep a new version as the draft",
    DEFINITION,
    ACCEPTED,
    headers=(IF_MATCH, PREFER),
    problems=(404, 409),
)
async def put_draft(call: RequestContext[Query, RulesBody]) -> web.Response:
    """Keep a new version as the draft, when the newest is the one that was read."""
    if "If-Match" not in call.request.headers:
        raise ApiProblem(
            428, "if_match_required", 'a draft needs If-Match with the ETag that was read; "0" when there is none yet'
        )
    definition_id = known_id(call)
    body = canonical(call.body.root)
    try:
        check_body(definition_id, body)
    except InvalidBodyError as error:
        raise invalid([FieldError(each.pointer, "invalid_body", each.message) for each in error.errors]) from error
    expected = _expected(call, definition_id)
    found = call.api.catalog.get(definition_id)
    if found and found.draft and found.draft.body == body:
        return definition_response(call, definition_id, found, "nothing to change")
    command = DraftDefinition(**envelope(call, definition_id, expected), body=body)
    return await respond_changed(call, command, "drafted")


@ROUTES(
    "POST",
    "/{definition_id}/apply",
    "Let the draft be the rules from now on",
    DEFINITION,
    ACCEPTED,
    headers=(MAY_MATCH, PREFER),
    problems=(404, 409),
)
async def apply_draft(call: RequestContext[ApplyQuery, None]) -> web.Response:
    """Let the draft be the rules from now on."""
    found = _found(call)
    expected = _expected(call, found.definition_id)
    version = call.query.version or _draft_version(found)
    _check_ranks(found)
    command = ApplyDefinition(**envelope(call, found.definition_id, expected), version=version)
    return await respond_changed(call, command, f"version {version} is in force")


def _check_ranks(found: Definition) -> None:
    """Make sure that everybody is found under the identities of now.

    Raises:
        Problem: 409, a kind would have another rank, or none, and profiles are kept by it.

    """
    if found.definition_id != IDENTITY or found.applied is None or found.draft is None:
        return
    before, after = (parse_identity(orjson.loads(each.body)).ranks() for each in (found.applied, found.draft))
    moved = sorted(kind for kind, rank in before.items() if after.get(kind) != rank)
    if moved:
        way = f"Rebuild by this version instead: entrepot rebuild start --identity {found.draft.version}"
        detail = f"nobody would be found any more by {', '.join(moved)}: profiles are kept by kind and rank. {way}"
        raise ApiProblem(409, "ranks_in_use", detail, more={"allowed": ["rebuild"]})


@ROUTES(
    "DELETE",
    "/{definition_id}/draft",
    "Drop the draft",
    DEFINITION,
    ACCEPTED,
    headers=(MAY_MATCH, PREFER),
    problems=(404, 409),
)
async def discard_draft(call: RequestContext[Query, None]) -> web.Response:
    """Drop the draft."""
    found = _found(call)
    _draft_version(found)
    command = DiscardDraft(**envelope(call, found.definition_id, _expected(call, found.definition_id)))
    return await respond_changed(call, command, "discarded")


@ROUTES(
    "GET",
    "/{definition_id}/diff",
    "How two versions differ, as JSON pointers",
    ResponseSpec("every difference", DiffView),
)
async def get_diff(call: RequestContext[DiffQuery, None]) -> web.Response:
    """Return how two versions differ."""
    found = _found(call)
    before, after = await _side(call, found, call.query.from_), await _side(call, found, call.query.to)
    changes = [change_view(each) for each in diff(before[1], after[1])]
    return respond(call, DiffView(before=before[0], after=after[0], changes=changes))


async def _side(call: RequestContext[DiffQuery, None], found: Definition, side: str) -> tuple[int, Any]:
    match side:
        case "applied" if found.applied is None:
            return 0, {}
        case "applied" | "draft":
            which = found.applied if side == "applied" else found.draft
            if which is None:
                raise not_found("draft", found.definition_id)
            return which.version, orjson.loads(which.body)
        case _ if int(side) == 0:
            return 0, {}
        case _:
            view = await _version(call, found, int(side))
            return view.version, view.body


async def _version(call: RequestContext[Any, Any], found: Definition, number: int) -> BodyView:
    mark = call.api.catalog.versions(found.definition_id).get(number)
    if mark is None:
        raise not_found("version", str(number))
    return body_view(mark, await body_of(call, found.definition_id, mark))


async def body_of(call: RequestContext[Any, Any], definition_id: str, mark: VersionRecord) -> str:
    """Return what a version says.

    Raises:
        Problem: it is lost, or Kafka can't be reached.

    """
    try:
        return await call.api.catalog.body(definition_id, mark)
    except VersionLostError as error:
        raise not_found("version", str(mark.version)) from error
    except (KafkaError, OSError) as error:
        raise ApiProblem(503, "kafka_unreachable", "Kafka, which has older versions, is not reachable") from error


def check_known(call: RequestContext[Any, Any]) -> None:
    """Make sure that all definitions were read, so that what is answered isn't half of it."""
    if not call.api.catalog.complete:
        raise ApiProblem(
            503,
            "definitions_unknown",
            "definitions were not read from Kafka yet; try again",
            headers={"Retry-After": "1"},
        )


def known_id(call: RequestContext[Any, Any]) -> str:
    """Return the definition that the path names, once all are known."""
    check_known(call)
    definition_id = call.path("definition_id")
    if not is_definition_id(definition_id):
        raise not_found("definition", definition_id)
    return definition_id


def _found(call: RequestContext[Any, Any]) -> Definition:
    definition_id = known_id(call)
    found = call.api.catalog.get(definition_id)
    if found is None:
        raise not_found("definition", definition_id)
    return found


def _expected(call: RequestContext[Any, Any], definition_id: str) -> int | None:
    """Return the version that the client has read, when it is the newest as far as is known here."""
    expected = expected_revision(call.request.headers)
    found = call.api.catalog.get(definition_id)
    version = found.version if found else 0
    if expected not in {None, version}:
        raise overtaken(version, f"the newest version is {version}, not {expected}: look again")
    return expected


def _draft_version(found: Definition) -> int:
    if found.draft is None:
        raise ApiProblem(409, "no_draft", "there is no draft", more={"allowed": ["draft"]})
    return found.draft.version
