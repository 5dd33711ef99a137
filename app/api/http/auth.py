"""Authentication and authorization of requests, and protection against other hosts and sites."""

import hmac
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from app.api.http.problems import ApiProblem
from app.auth import Caller, form_token
from app.settings import Settings
from schemas.access import AccessRole

COOKIE: Final = "entrepot_session"
FORM_HEADER: Final = "X-Form-Token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
ANONYMOUS: Final = Caller("", "", "viewer", "token", "")

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


def check_host(host: str, settings: Settings) -> None:
    """Check the host that a request names: DNS rebinding points other names at this address.

    Raises:
        ApiProblem: 421.

    """
    if not checks_host(settings):
        return
    name = _host_name(host)
    if name not in LOCAL_NAMES | {settings.api_host, *settings.api_names.split(",")} - {""}:
        raise ApiProblem(421, "wrong_host", f"unknown host {name!r}: use localhost, or add it to ENTREPOT_API_NAMES")


def checks_host(settings: Settings) -> bool:
    """Return whether the names of this API are known: they are set, or it can only be reached as localhost."""
    return bool(settings.api_names) or is_loopback(settings.api_host)


def _host_name(host: str) -> str:
    """Return the name in a `Host` header, without the port; "" if it is invalid."""
    try:
        return "" if "@" in host else urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def authenticated(request: web.Request, authenticate: Callable[[str], Caller | None]) -> Caller:
    """Return the caller of a bearer token, else of the session cookie of the web pages.

    Raises:
        ApiProblem: 401, 403 when another site may have sent the request, or what `authenticate` raises.

    """
    credentials = request.headers.getall("Authorization", [""])
    if len(credentials) > 1:  # a proxy may have checked another one than the first
        raise _unauthenticated("several Authorization headers: send one")
    scheme, _, secret = credentials[0].partition(" ")
    if scheme:
        caller = authenticate(secret.strip()) if scheme.lower() == "bearer" else None
        if caller is None or caller.kind != "token":
            raise _unauthenticated("invalid, expired or revoked token")
        return caller
    session = request.cookies.get(COOKIE, "")
    caller = authenticate(session) if session else None
    if caller is None:
        raise _unauthenticated("no token: send `Authorization: Bearer …`")
    if request.method not in SAFE_METHODS:
        check_same_site(request)
        check_form_token(session, request.headers.get(FORM_HEADER, ""))
    return caller


def _unauthenticated(detail: str) -> ApiProblem:
    return ApiProblem(401, "unauthenticated", detail, headers={"WWW-Authenticate": 'Bearer realm="entrepot"'})


def check_same_site(request: web.Request) -> None:
    """Make sure that a write of a browser comes from the web pages of this API.

    Raises:
        ApiProblem: 403.

    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        same_site = site == "same-origin"
    else:
        same_site = origin is None or origin == f"{request.scheme}://{request.host}"
    if not same_site:
        raise ApiProblem(403, "cross_site", "the request was sent from another site, not from a page of Entrepot")


def check_form_token(session: str, given: str) -> None:
    """Make sure that a form comes from a page of this session.

    Raises:
        ApiProblem: 403.

    """
    if not hmac.compare_digest(form_token(session).encode(), given.encode("utf-8", "surrogatepass")):
        raise ApiProblem(403, "stale_form", "the page belongs to another session; reload it and repeat")


def authorize(caller: Caller, role: AccessRole) -> None:
    """Make sure that a caller has a role.

    Raises:
        ApiProblem: 403.

    """
    if not caller.may(role):
        raise ApiProblem(403, "forbidden", f"requires the role {role}; {caller.name} has the role {caller.role}")
