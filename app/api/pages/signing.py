"""Signs browsers in and out, by a one-time link or a token. The session is an HttpOnly cookie."""

import asyncio
from typing import Final

from aiohttp import web

from app.api.context import API
from app.api.http.auth import COOKIE, check_form_token, check_same_site
from app.api.pages.forms import read_form
from app.api.pages.render import render
from app.auth import SESSION_LIFE

USED_UP: Final = "This sign-in link is used or expired. Create a new one with: entrepot sign-in"
UNKNOWN: Final = "Invalid, expired or revoked token."


async def sign_in_page(request: web.Request) -> web.Response:
    """Redeem the code of a link; without one, show the token form."""
    code = request.query.get("code", "")
    if not code:
        return _form("")
    session = await asyncio.to_thread(request.app[API].tokens.redeem, code)
    return _form(USED_UP) if session is None else _signed_in(session)


async def open_session(request: web.Request) -> web.Response:
    """Open a session for the holder of a token."""
    check_same_site(request)
    secret = (await read_form(request)).get("token", "").strip()
    session = await asyncio.to_thread(request.app[API].tokens.sign_in, secret)
    return _form(UNKNOWN) if session is None else _signed_in(session)


async def sign_out(request: web.Request) -> web.Response:
    """End the session."""
    check_same_site(request)
    session = request.cookies.get(COOKIE, "")
    check_form_token(session, (await read_form(request)).get("form_token", ""))
    await asyncio.to_thread(request.app[API].tokens.sign_out, session)
    response = web.HTTPSeeOther("/sign-in")
    response.del_cookie(COOKIE, path="/")
    raise response


def _form(problem: str) -> web.Response:
    return render("sign_in.html", status=401 if problem else 200, caller=None, problem=problem)


def _signed_in(session: str) -> web.Response:
    """Return a page that forwards to the list: a redirect from another site would lose a strict cookie."""
    response = render("signed_in.html", caller=None)
    response.headers["Refresh"] = "0; url=/"
    response.set_cookie(
        COOKIE, session, path="/", httponly=True, samesite="Strict", max_age=int(SESSION_LIFE.total_seconds())
    )
    return response
