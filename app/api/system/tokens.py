"""The current identity, access tokens and sign-in links. A secret is shown once."""

from datetime import datetime
from typing import Annotated, Final
from uuid import uuid4

from aiohttp import web
from pydantic import BaseModel, Field

from app.api.definitions.commands import definition_envelope, send_definition_command
from app.api.http.param_types import TimestampText
from app.api.http.problems import not_found
from app.api.routing.responses import View, respond
from app.api.routing.routes import Body, Query, RequestContext, ResponseSpec, Routes
from app.auth import hash_of, new_secret
from schemas.access import AccessRole
from schemas.definitions import TOKEN, CreateToken, RevokeToken


class Me(View):
    """The caller."""

    name: str
    role: AccessRole
    token_id: str


class TokenView(View):
    """A token, without its secret."""

    id: str
    name: str
    role: AccessRole
    created_at: datetime
    expires_at: datetime | None


class NewTokenView(TokenView):
    """A new token; `token` is shown only once."""

    token: str


class SessionView(View):
    """An open session of the web pages, and the token that it came from."""

    id: str
    name: str
    role: AccessRole
    created_at: datetime
    expires_at: datetime
    root_id: str


class TokenBody(Body):
    """A token to create."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._@-]{1,80}$", description="owner of the token; shown in logs")]
    role: AccessRole
    expires_at: TimestampText | None = None


class SignInView(BaseModel):
    """A one-time sign-in link for a browser; expires in 15 minutes."""

    path: str


ROUTES: Final = Routes("tokens", "/v2")


@ROUTES("GET", "/me", "Current identity", ResponseSpec("the caller", Me))
async def me(call: RequestContext[Query, None]) -> web.Response:
    """Return the caller."""
    return respond(call, Me.of(call.caller))


@ROUTES("GET", "/token", "List tokens", ResponseSpec("all valid tokens", list[TokenView]), role="admin")
async def list_tokens(call: RequestContext[Query, None]) -> web.Response:
    """Return the valid tokens."""
    now = call.api.clock()
    tokens = call.api.catalog.tokens.by_id.values()
    return respond(call, [TokenView.of(token) for token in tokens if token.is_valid(now)])


@ROUTES(
    "POST",
    "/token",
    "Create a token",
    ResponseSpec("the token, with its secret", NewTokenView, status=201, ids={"token_id": "/data/id"}),
    ResponseSpec("accepted, and not valid yet", NewTokenView, status=202),
    role="admin",
    problems=(409,),
)
async def create_token(call: RequestContext[Query, TokenBody]) -> web.Response:
    """Create a token."""
    secret, token_id = new_secret(), str(uuid4())
    command = CreateToken(
        **definition_envelope(call, TOKEN + token_id, None),
        name=call.body.name,
        role=call.body.role,
        sha256=hash_of(secret),
        expires_at=call.body.expires_at,
    )
    visible = await send_definition_command(call, command)
    view = NewTokenView.of(command, id=token_id, created_at=command.issued_at, token=secret)
    message = "store the token now: it cannot be shown again" + ("" if visible else "; it is not valid yet")
    return respond(call, view, status=201 if visible else 202, message=message)


@ROUTES(
    "DELETE",
    "/token/{token_id}",
    "Revoke a token and its browser sessions",
    ResponseSpec("revoked"),
    ResponseSpec("accepted, and still valid", status=202),
    role="admin",
    problems=(404, 409),
)
async def revoke_token(call: RequestContext[Query, None]) -> web.Response:
    """Revoke a token."""
    token_id = call.path("token_id")
    if TOKEN + token_id not in call.api.catalog.tokens.by_id:
        raise not_found("token", token_id)
    envelope = definition_envelope(call, TOKEN + token_id, None)
    command = RevokeToken(**envelope, allow_last_admin=bool(call.api.settings.admin_token))
    if await send_definition_command(call, command):
        return respond(call, None, message="revoked")
    return respond(call, None, status=202, message="accepted; the token is still valid")


@ROUTES(
    "GET",
    "/session",
    "List browser sessions",
    ResponseSpec("all open sessions", list[SessionView], ids={"session_id": "/data/0/id"}),
    role="admin",
)
async def list_sessions(call: RequestContext[Query, None]) -> web.Response:
    """Return all open sessions."""
    sessions = call.api.access.open_sessions()
    return respond(call, [SessionView.of(session, name=root.name, role=root.role) for session, root in sessions])


@ROUTES(
    "DELETE", "/session/{session_id}", "End a browser session", ResponseSpec("ended"), role="admin", problems=(404,)
)
async def end_session(call: RequestContext[Query, None]) -> web.Response:
    """End a session."""
    session_id = call.path("session_id")
    if not await call.api.access.end_session(session_id):
        raise not_found("session", session_id)
    return respond(call, None, message="ended")


@ROUTES(
    "POST",
    "/sign-in",
    "Create a one-time sign-in link for a browser",
    ResponseSpec("the path of the link", SignInView, status=201),
    role="viewer",
)
async def create_sign_in_link(call: RequestContext[Query, None]) -> web.Response:
    """Create a link that signs a browser in as the caller."""
    code = await call.api.access.create_code(call.caller)
    return respond(
        call,
        SignInView(path=f"/sign-in?code={code}"),
        status=201,
        message="one-time sign-in link, expires in 15 minutes",
    )
