"""The page of findings: identities that link too many others, and the steps that separate the people behind them."""

from collections.abc import Mapping
from shlex import quote
from typing import Any, Final
from urllib.parse import unquote

import orjson
from aiohttp import web
from pydantic import ValidationError

from app.api.context import API
from app.api.definitions.commands import definition_envelope, send_definition_command
from app.api.definitions.definitions import ApplyQuery, apply_draft, checked_body
from app.api.http.auth import COOKIE, authorize, check_form_token, check_same_site
from app.api.http.problems import ApiProblem, field_errors, invalid, not_found
from app.api.pages.forms import read_form
from app.api.pages.render import render
from app.api.pages.signing import caller_of, shared_values
from app.api.profiles.findings import FindingView, findings_of
from app.api.routing.routes import Query, RequestContext
from app.auth import Caller
from projections.definitions.definition import Definition
from projections.definitions.rebuild_spec import VersionedBody
from projections.identities.blocked_values import with_value_blocked
from projections.mapping.mapping import parse_identity
from schemas.access import AccessRole
from schemas.definitions import IDENTITY, DraftDefinition

EDITOR: Final[AccessRole] = "editor"  # of the API's routes for definitions


async def findings_page(request: web.Request) -> web.Response:
    """Show the findings."""
    return await _page(request, await caller_of(request), None)


async def block_identity(request: web.Request) -> web.Response:
    """Draft identity rules that block an identity, then show the findings."""
    caller, form = await _submitted(request)
    identity = unquote(form.get("identity", ""))
    call = RequestContext(request, request.app[API], caller, Query(), None)
    try:
        await _draft(call, identity)
    except ApiProblem as problem:
        return await _page(request, caller, problem)
    raise web.HTTPSeeOther("/findings")


async def _draft(call: RequestContext[Query, None], identity: str) -> None:
    rules = call.api.catalog.get(IDENTITY)
    newest = _newest(rules)
    content = with_value_blocked(orjson.loads(newest.body), identity) if newest else None
    if rules is None or content is None:
        raise not_found("identity type", identity.partition(":")[0])
    body = await checked_body(call, IDENTITY, content)
    envelope = definition_envelope(call, IDENTITY, rules.version)
    await send_definition_command(call, DraftDefinition(**envelope, body=body))


async def apply_rules(request: web.Request) -> web.Response:
    """Apply the draft of the identity rules that the page showed, then show the findings."""
    caller, form = await _submitted(request)
    try:
        query = ApplyQuery.model_validate_strings(form)
    except ValidationError as error:
        raise invalid(field_errors(error, model=ApplyQuery)) from error
    try:
        await apply_draft(RequestContext(request, request.app[API], caller, query, None))
    except ApiProblem as problem:
        return await _page(request, caller, problem)
    raise web.HTTPSeeOther("/findings")


async def _submitted(request: web.Request) -> tuple[Caller, Mapping[str, str]]:
    """Return the caller and the fields of a form that this server has rendered for an editor."""
    caller = await caller_of(request)
    check_same_site(request)
    form = await read_form(request)
    check_form_token(request.cookies[COOKIE], form.pop("form_token", ""))
    authorize(caller, EDITOR)
    return caller, form


async def _page(request: web.Request, caller: Caller, problem: ApiProblem | None) -> web.Response:
    api = request.app[API]
    rules, findings = api.catalog.get(IDENTITY), list[FindingView]()
    try:
        findings = await findings_of(RequestContext(request, api, caller, Query(), None))
    except ApiProblem as unreachable:
        problem = problem or unreachable
    draft = rules.draft if rules else None
    return render(
        "findings.html",
        status=problem.status if problem else 200,
        **shared_values(request, caller) | {"problem": problem},
        findings=findings,
        drafted=_blocked_by(draft, findings),
        draft=draft,
        may_edit=caller.may(EDITOR),
        quote=quote,
    )


def _newest(rules: Definition | None) -> VersionedBody | None:
    return (rules.draft or rules.applied) if rules else None


def _blocked_by(draft: VersionedBody | None, findings: list[FindingView]) -> frozenset[str]:
    """Return the findings whose value a draft of the identity rules blocks."""
    if draft is None:
        return frozenset()
    rules = parse_identity(orjson.loads(draft.body))
    blocked: dict[str, Any] = {kind.kind: rules.value_rules(kind).blocked for kind in rules.kinds}
    split = ((finding.identity, *finding.identity.partition(":")[::2]) for finding in findings)
    return frozenset(identity for identity, kind, value in split if value in blocked.get(kind, ()))
