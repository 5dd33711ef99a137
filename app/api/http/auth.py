"""What stands in front of every request: who may ask, from which site, by which name. Knows no resources."""

import hmac
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from app.api.http.problems import ApiProblem
from app.auth import AccessRole, Caller, Tokens, form_token

COOKIE: Final = "entrepot_session"
FORM_HEADER: Final = "X-Form-Token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
ANONYMOUS: Final = Caller("", "", "viewer", "token")

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Server": "entrepot",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def check_host(request: web.Request, bound_to: str) -> None:
    """Make sure that a request to a loopback address names one: a web page can point a name of its own at loopback.

    Raises:
        Problem: 421.

    """
    if not is_loopback(bound_to):
        return
    name = (urlsplit(f"//{request.host}").hostname or "") if _splits(request.host) else ""
    if name not in LOCAL_NAMES | {bound_to}:
        raise ApiProblem(421, "wrong_host", f"this is not {name or 'that host'!r}: use localhost or 127.0.0.1")


def _splits(host: str) -> bool:
    try:
        urlsplit(f"//{host}")
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def authenticated(request: web.Request, tokens: Tokens) -> Caller:
    """Return who asks, by a bearer token or else by the session cookie of our own pages.

    Raises:
        Problem: 401, or 403 when another site may have sent it.

    """
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme:
        found = tokens.caller(secret.strip()) if scheme.lower() == "bearer" else None
        if found is None or found.kind != "token":
            raise _who("the token is not known here, or it has expired or was revoked")
        return found
    session = request.cookies.get(COOKIE, "")
    found = tokens.caller(session) if session else None
    if found is None:
        raise _who("a token is needed: `Authorization: Bearer …`")
    if request.method not in SAFE_METHODS:
        check_same_site(request)
        check_form_token(session, request.headers.get(FORM_HEADER, ""))
    return found


def _who(detail: str) -> ApiProblem:
    return ApiProblem(401, "unauthenticated", detail, headers={"WWW-Authenticate": 'Bearer realm="entrepot"'})


def check_same_site(request: web.Request) -> None:
    """Make sure that a browser's write comes from our own pages.

    Raises:
        Problem: 403.

    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        good = site == "same-origin"
    else:
        good = origin is None or origin == f"{request.scheme}://{request.host}"
    if not good:
        raise ApiProblem(403, "cross_site", "this was sent from another site: send it from Entrepot's own pages")


def check_form_token(session: str, given: str) -> None:
    """Make sure that a form comes from a page that was made for this session.

    Raises:
        Problem: 403.

    """
    if not hmac.compare_digest(form_token(session).encode(), given.encode("utf-8", "surrogatepass")):
        raise ApiProblem(403, "stale_form", "this page is from another session: load it again, then repeat")


def authorize(caller: Caller, role: AccessRole) -> None:
    """Make sure that a caller may do what needs that role.

    Raises:
        Problem: 403.

    """
    if not caller.may(role):
        raise ApiProblem(403, "forbidden", f"this needs the role {role}; {caller.name} is {caller.role}")
