"""The current identity, access tokens and sign-in links. A secret is shown once."""

import asyncio
from datetime import datetime
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, Field

from app.api.http.param_types import TimestampText
from app.api.http.problems import ApiProblem, FieldError, invalid, not_found
from app.api.routing.responses import View, respond
from app.api.routing.routes import Body, Query, RequestContext, ResponseSpec, Routes
from app.auth import AccessRole, LastAdminError, PastExpiryError


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


@ROUTES("GET", "/token", "List tokens", ResponseSpec("all tokens", list[TokenView]), role="admin")
async def list_tokens(call: RequestContext[Query, None]) -> web.Response:
    """Return all tokens."""
    return respond(call, [TokenView.of(token) for token in call.api.tokens.list_tokens()])


@ROUTES(
    "POST",
    "/token",
    "Create a token",
    ResponseSpec("the token, with its secret", NewTokenView, status=201),
    role="admin",
)
async def create_token(call: RequestContext[Query, TokenBody]) -> web.Response:
    """Create a token."""
    body = call.body
    try:
        created, secret = await asyncio.to_thread(call.api.tokens.create, body.name, body.role, body.expires_at)
    except PastExpiryError as error:
        raise invalid([FieldError("/expires_at", "in_the_past", str(error))]) from error
    message = "store the token now: it cannot be shown again"
    return respond(call, NewTokenView.of(created, token=secret), status=201, message=message)


@ROUTES(
    "DELETE",
    "/token/{token_id}",
    "Revoke a token and its browser sessions",
    ResponseSpec("revoked"),
    role="admin",
    problems=(404, 409),
)
async def revoke_token(call: RequestContext[Query, None]) -> web.Response:
    """Revoke a token."""
    token_id = call.path("token_id")
    try:
        existed = await asyncio.to_thread(call.api.tokens.revoke, token_id)
    except LastAdminError as error:
        raise ApiProblem(409, "last_admin", str(error), more={"allowed": []}) from error
    if not existed:
        raise not_found("token", token_id)
    return respond(call, None, message="revoked")


@ROUTES("GET", "/session", "List browser sessions", ResponseSpec("all open sessions", list[SessionView]), role="admin")
async def list_sessions(call: RequestContext[Query, None]) -> web.Response:
    """Return all open sessions."""
    return respond(call, [SessionView.of(session) for session in call.api.tokens.list_sessions()])


@ROUTES(
    "DELETE", "/session/{session_id}", "End a browser session", ResponseSpec("ended"), role="admin", problems=(404,)
)
async def end_session(call: RequestContext[Query, None]) -> web.Response:
    """End a session."""
    session_id = call.path("session_id")
    if not await asyncio.to_thread(call.api.tokens.end_session, session_id):
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
    code = await asyncio.to_thread(call.api.tokens.sign_in_code, call.caller)
    return respond(
        call,
        SignInView(path=f"/sign-in?code={code}"),
        status=201,
        message="one-time sign-in link, expires in 15 minutes",
    )
