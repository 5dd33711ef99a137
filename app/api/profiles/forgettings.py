"""Forgetting over HTTP: submit a request, wait for its end, and show its state. The owners of profiles carry it out."""

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID, uuid4, uuid5

from aiohttp import web
from pydantic import Field

from app.api.definitions.commands import definition_envelope, send_definition_command
from app.api.definitions.definitions import check_loaded
from app.api.http.headers import idempotency_key, wait_seconds
from app.api.http.problems import key_reused, not_found
from app.api.profiles.profiles import live_reader, requested_key
from app.api.routing.commands import AcceptedCommand
from app.api.routing.responses import View, respond
from app.api.routing.routes import IDEMPOTENCY_KEY, PREFER, Query, RequestContext, ResponseSpec, Routes
from app.definitions.forgetting_catalog import ForgettingCatalog, ForgettingRecord
from projections.definitions.rules import key_hash, key_hashes
from projections.profiles.profile_view import shown_key
from schemas.definitions import FORGETTING, ForgetPerson

FORGETTING_ID_NAMESPACE: Final = UUID("5e0c4b56-35f5-4a94-9b0e-1d27c6a8f3de")  # of ids from idempotency keys


class ForgettingItem(View):
    """A request to forget a person; messages up to `at` are excluded. Counts are those so far."""

    id: str
    status: Literal["under_way", "forgotten"]
    at: datetime
    requested_at: datetime
    requested_by: str
    forgotten_at: datetime | None
    identities: Annotated[int, Field(description="of types with the format `exact`, also their normal forms")]
    profiles: Annotated[int, Field(description="profiles with data of the person")]
    complete: Annotated[
        bool,
        Field(
            description="false: a profile had reached the limit of links (`max_identities`), or there are too many "
            "identities; further ones are not forgotten: forget each of them with a request of its own"
        ),
    ]


class ForgettingView(ForgettingItem):
    """A forgetting with its identities, and with what it waits for."""

    key_hashes: Annotated[list[str], Field(description="SHA-256 of `kind:value` of each identity")]
    waiting_for: Annotated[list[str], Field(description="raw partitions whose lane has not confirmed the rule yet")]


ROUTES: Final = Routes("profiles", "/v2")
FORGOTTEN: Final = ResponseSpec("the forgetting: it has ended", ForgettingView)
UNDER_WAY: Final = ResponseSpec(
    "in progress; poll `Location`",
    AcceptedCommand,
    status=202,
    headers=("Location",),
    ids={"forgetting_id": "/data/id"},
)


@ROUTES(
    "DELETE",
    "/profile/{key}",
    "Forget a person, in all future replays and rebuilds",
    FORGOTTEN,
    UNDER_WAY,
    role="admin",
    headers=(IDEMPOTENCY_KEY, PREFER),
    problems=(404, 409, 429),
)
async def forget_profile(call: RequestContext[Query, None]) -> web.Response:
    """Forget a person: drop the profile, and never map messages up to now again.

    It continues without the API. An identity without a profile can be forgotten, too: later messages about its past are
    not mapped.
    """
    check_loaded(call)
    deadline = asyncio.get_running_loop().time() + wait_seconds(call.request.headers)
    command = _command(call, shown_key(requested_key(call, await live_reader(call))))
    catalog: ForgettingCatalog = call.api.catalog.forgettings
    with catalog.expect_end(command.definition_id) as end:
        record = catalog.get(command.definition_id)
        if record is None:
            await send_definition_command(call, command)
        elif record.command_id != command.command_id:
            raise key_reused("to forget another person")
        if record is None or record.forgetting.is_under_way:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await end
        record = catalog.get(command.definition_id)
    if record is None or record.forgetting.is_under_way:
        return _under_way(call, _public_id(command.definition_id))
    return respond(call, await _view(call, record), message="forgotten")


@ROUTES("GET", "/forgetting", "List forgettings", ResponseSpec("newest first", list[ForgettingItem]), role="admin")
async def list_forgettings(call: RequestContext[Query, None]) -> web.Response:
    """Return the forgettings under way, and the latest 1,000 others, newest first."""
    check_loaded(call)
    return respond(call, [_item(record) for record in reversed(call.api.catalog.forgettings.all)])


@ROUTES(
    "GET",
    "/forgetting/{forgetting_id}",
    "Show a forgetting",
    ResponseSpec("the forgetting", ForgettingView),
    role="admin",
    problems=(404,),
)
async def get_forgetting(call: RequestContext[Query, None]) -> web.Response:
    """Return a forgetting."""
    check_loaded(call)
    forgetting_id = call.path("forgetting_id")
    record = call.api.catalog.forgettings.get(f"{FORGETTING}{forgetting_id}")
    if record is None:
        raise not_found("forgetting", forgetting_id)
    return respond(call, await _view(call, record))


def _command(call: RequestContext[Any, Any], identity: str) -> ForgetPerson:
    """Return the command; with an Idempotency-Key, repeated requests have the same ids."""
    fields = definition_envelope(call, f"{FORGETTING}{uuid4()}", None)
    name = key_hash(identity)
    key = idempotency_key(call.request.headers)
    if key is not None:
        forgetting_id = uuid5(FORGETTING_ID_NAMESPACE, f"{call.caller.token_id}\n{key}")
        fields |= {"definition_id": f"{FORGETTING}{forgetting_id}", "command_id": str(uuid5(forgetting_id, name))}
    return ForgetPerson(**fields, key_hashes=tuple(sorted(key_hashes(identity))), at=fields["issued_at"])


def _under_way(call: RequestContext[Any, Any], forgetting_id: str) -> web.Response:
    href = f"/v2/forgetting/{forgetting_id}"
    accepted = AcceptedCommand(id=forgetting_id, href=href)
    return respond(call, accepted, status=202, message="under way, see `href`", headers={"Location": href})


def _public_id(definition_id: str) -> str:
    return definition_id.removeprefix(FORGETTING)


def _item(record: ForgettingRecord) -> ForgettingItem:
    forgetting = record.forgetting
    return ForgettingItem(
        id=_public_id(forgetting.definition_id),
        status=forgetting.status,
        at=forgetting.at,
        requested_at=record.requested_at,
        requested_by=record.requested_by,
        forgotten_at=record.forgotten_at,
        identities=len(forgetting.key_hashes),
        profiles=forgetting.profiles,
        complete=forgetting.complete,
    )


async def _view(call: RequestContext[Any, Any], record: ForgettingRecord) -> ForgettingView:
    waiting_for = list[str]()
    if record.forgotten_at is None:
        unconfirmed = await call.api.store.plane.unconfirmed(record.rules_offset)
        waiting_for = [f"{topic}/{number}" for topic, number in unconfirmed]
    return ForgettingView.of(
        _item(record),
        key_hashes=sorted(record.forgetting.key_hashes),
        waiting_for=waiting_for,
    )
