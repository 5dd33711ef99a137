"""Who I am, and the tokens: list, create, revoke; and links that sign a browser in. A secret is shown once."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import BaseModel, Field

from app.api.http.param_types import TimestampText
from app.api.http.problems import ApiProblem, not_found
from app.api.routing.responses import respond
from app.api.routing.routes import Body, Query, RequestContext, ResponseSpec, Routes
from app.auth import AccessRole, LastAdminError, Token


class Me(BaseModel):
    """Who asks."""

    name: str
    role: AccessRole
    token_id: str


class TokenView(BaseModel):
    """A token, without its secret."""

    id: str
    name: str
    role: AccessRole
    created_at: datetime
    expires_at: datetime | None


class NewTokenView(TokenView):
    """A token that was just made; `token` is shown this once."""

    token: str


class TokenBody(Body):
    """A token to be made."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._@-]{1,80}$", description="who it is for; shown in logs")]
    role: AccessRole
    expires_at: TimestampText | None = None


class SignInView(BaseModel):
    """A link that signs a browser in, once, within 15 minutes."""

    path: str


ROUTES: Final = Routes("tokens", "/v2")


@ROUTES("GET", "/me", "Who I am", ResponseSpec("who asks", Me))
async def me(call: RequestContext[Query, None]) -> web.Response:
    """Return who asks."""
    caller = call.caller
    return respond(call, Me(name=caller.name, role=caller.role, token_id=caller.token_id))


@ROUTES("GET", "/token", "List tokens", ResponseSpec("all tokens", list[TokenView]), role="admin")
async def list_tokens(call: RequestContext[Query, None]) -> web.Response:
    """Return all tokens."""
    return respond(call, [TokenView(**_facts(each)) for each in call.api.tokens.listed()])


@ROUTES(
    "POST",
    "/token",
    "Create a token",
    ResponseSpec("the token, with its secret this once", NewTokenView, status=201),
    role="admin",
)
async def create_token(call: RequestContext[Query, TokenBody]) -> web.Response:
    """Make a token."""
    body = call.body
    made, secret = await asyncio.to_thread(call.api.tokens.create, body.name, body.role, body.expires_at)
    said = "keep the token now: it can't be shown again"
    return respond(call, NewTokenView(**_facts(made), token=secret), status=201, message=said)


@ROUTES(
    "DELETE",
    "/token/{token_id}",
    "Revoke a token and the sessions that came from it",
    ResponseSpec("nothing more"),
    role="admin",
    problems=(404, 409),
)
async def revoke_token(call: RequestContext[Query, None]) -> web.Response:
    """End a token."""
    token_id = call.path("token_id")
    try:
        found = await asyncio.to_thread(call.api.tokens.revoke, token_id)
    except LastAdminError as error:
        raise ApiProblem(409, "last_admin", str(error), more={"allowed": []}) from error
    if not found:
        raise not_found("token", token_id)
    return respond(call, None, message="revoked")


@ROUTES(
    "POST",
    "/sign-in",
    "Make a link that signs a browser in as me",
    ResponseSpec("the link's path", SignInView, status=201),
    role="viewer",
)
async def sign_in_link(call: RequestContext[Query, None]) -> web.Response:
    """Make a link that signs a browser in as whoever asks."""
    code = await asyncio.to_thread(call.api.tokens.sign_in_code, call.caller)
    return respond(call, SignInView(path=f"/sign-in?code={code}"), status=201, message="good once, for 15 minutes")


def _facts(token: Token) -> dict[str, Any]:
    return {name: getattr(token, name) for name in TokenView.model_fields}
