"""HTTP addresses, sent as they were given: a signed link is only valid byte for byte.

Client libraries normalize URLs: they decode `%2F` and `%7E`, and resolve `..`. This module only quotes what is illegal.
"""

import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote

from aiohttp import encode_basic_auth
from yarl import URL

from connectors.contract import FixConfiguration
from connectors.redaction import redact_value

_PARTS: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<target>[^#]*)", re.DOTALL)
# What RFC 3986 allows in a URL; a percent sign has to begin an escape.
_ILLEGAL: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]")
_DOTS: Final = re.compile(r"(\.\.?)(?:/|(?=\?)|\Z)")


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where a request goes, and what it asks for."""

    name: str  # for display, without credentials
    origin: URL
    target: str  # path and query
    authorization: str | None  # the header for the user in the URL

    @property
    def url(self) -> URL:
        """Return the URL for the client. The query is part of the path: yarl drops an empty one."""
        return URL.build(scheme=self.origin.scheme, authority=self.origin.raw_authority, path=self.target, encoded=True)

    @property
    def path(self) -> str:
        """Return the decoded path."""
        return unquote(self.target.partition("?")[0])


def parse_address(source: str) -> HttpAddress:
    """Parse a URL or raise `FixConfiguration`, without the URL: it may hold credentials."""
    parts = _PARTS.match(source)
    if parts is None or parts["scheme"].lower() not in {"http", "https"}:
        raise FixConfiguration("bad_url")
    target = parts["target"]
    try:
        url = URL(f"{parts['scheme'].lower()}://{parts['authority']}")
        origin = url.origin()
        url.raw_authority.encode("idna")  # of a host with a label that is empty or too long
        has_user = bool(url.user or url.password)  # either may be a token, without the other
        authorization = encode_basic_auth(url.user or "", url.password or "", "utf-8") if has_user else None
    except ValueError as error:
        raise FixConfiguration("bad_url") from error
    target = quote_illegal(target if target.startswith("/") else f"/{target}")
    return HttpAddress(redact_value(source), origin, target, authorization)


def redirected(address: HttpAddress, location: str) -> HttpAddress:
    """Return the target of a redirect, as the server wrote it. Credentials stay with their origin.

    Raises:
        FixConfiguration: the target isn't HTTP, or isn't encrypted any more.

    """
    problem = {"url": address.name}
    try:
        target = parse_address(_resolve(address, location))
    except FixConfiguration as error:
        raise FixConfiguration("bad_redirect", problem) from error
    if address.origin.scheme == "https" and target.origin.scheme == "http":
        raise FixConfiguration("insecure_redirect", problem)
    if target.authorization is None and target.origin == address.origin:
        return replace(target, authorization=address.authorization)
    return target


def _resolve(address: HttpAddress, location: str) -> str:
    """Return an absolute URL (RFC 3986, section 5.2), with dot segments only removed from the front of a path."""
    path, _, _ = address.target.partition("?")
    reference = location.partition("#")[0]
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", reference):
        return reference
    if reference.startswith("//"):
        return f"{address.origin.scheme}:{reference}"
    if not reference:
        target = address.target
    elif reference.startswith("/"):
        target = reference
    elif reference.startswith("?"):
        target = path + reference
    else:
        target = _merge(path[: path.rindex("/") + 1], reference)
    return f"{address.origin}{target}"


def _merge(folder: str, reference: str) -> str:
    while dots := _DOTS.match(reference):
        reference = reference[dots.end() :]
        if dots[1] == "..":
            folder = folder[: folder.rfind("/", 0, -1) + 1] or "/"
    return folder + reference


def quote_illegal(target: str) -> str:
    """Quote the characters that are illegal in a URL, and nothing else."""
    raw = target.encode("utf-8", "surrogateescape")  # headers have surrogates for bytes that aren't UTF-8
    return _ILLEGAL.sub(lambda illegal: b"%%%02X" % illegal[0][0], raw).decode("ascii")
