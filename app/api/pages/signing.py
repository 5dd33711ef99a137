"""Signs browsers in and out, by a one-time link or a token. The session is an HttpOnly cookie."""

from typing import Any, Final

from aiohttp import web

from app.api.context import API
from app.api.http.auth import COOKIE, check_form_token, check_same_site
from app.api.pages.forms import read_form
from app.api.pages.render import render
from app.auth import SESSION_LIFE, Caller, form_token

USED_UP: Final = "This sign-in link is used or expired. Create a new one with: entrepot sign-in"
UNKNOWN: Final = "Invalid, expired or revoked token."


async def caller_of(request: web.Request) -> Caller:
    """Return the caller that has signed in; others are sent to the form."""
    await request.app[API].access.until_loaded()
    caller = request.app[API].access.authenticate(request.cookies.get(COOKIE, ""))
    if caller is None or caller.kind != "session":
        raise web.HTTPSeeOther("/sign-in")
    return caller


def shared_values(request: web.Request, caller: Caller) -> dict[str, Any]:
    """Return the values that every page shows."""
    return {"caller": caller, "form_token": form_token(request.cookies[COOKIE]), "problem": None}


async def sign_in_page(request: web.Request) -> web.Response:
    """Show the form: a button for the code of a link, which link scanners don't press; else a field."""
    return _form(code=request.query.get("code", ""))


async def open_session(request: web.Request) -> web.Response:
    """Open a session for the holder of a code or a token."""
    check_same_site(request)
    form, access = await read_form(request), request.app[API].access
    if code := form.get("code", ""):
        session, problem = await access.redeem(code), USED_UP
    else:
        session, problem = await access.sign_in(form.get("token", "").strip()), UNKNOWN
    if session is None:
        return _form(problem)
    response = web.HTTPSeeOther("/")
    response.set_cookie(
        COOKIE, session, path="/", httponly=True, samesite="Strict", max_age=int(SESSION_LIFE.total_seconds())
    )
    raise response


async def sign_out(request: web.Request) -> web.Response:
    """End the session."""
    check_same_site(request)
    session = request.cookies.get(COOKIE, "")
    check_form_token(session, (await read_form(request)).get("form_token", ""))
    await request.app[API].access.sign_out(session)
    response = web.HTTPSeeOther("/sign-in")
    response.del_cookie(COOKIE, path="/")
    raise response


def _form(problem: str = "", code: str = "") -> web.Response:
    return render("sign_in.html", status=401 if problem else 200, caller=None, problem=problem, code=code)
