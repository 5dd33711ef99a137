"""Request headers of writes: Prefer, If-Match, Idempotency-Key and traceparent."""

import re
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy

from app.api.http.problems import ApiProblem, FieldError, invalid

DEFAULT_WAIT_SECONDS: Final = 5.0
MAX_WAIT_SECONDS: Final = 15.0  # for one command; an edit sends up to three, and a request times out after 60
MAX_IDEMPOTENCY_KEY_CHARACTERS: Final = 200

RequestHeaders = CIMultiDict[str] | CIMultiDictProxy[str]

_ETAG: Final = re.compile(r'(W/)?"([^"]*)"')
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def wait_seconds(headers: RequestHeaders) -> float:
    """Return the seconds that the response to a write may wait until the write is visible: `Prefer` of RFC 7240.

    Unknown and malformed preferences are ignored.
    """
    seconds = DEFAULT_WAIT_SECONDS
    for preference in ",".join(headers.getall("Prefer", ())).split(","):
        name, _, value = preference.partition(";")[0].strip().partition("=")
        match name.strip().lower():
            case "respond-async":
                return 0.0
            case "wait" if value.strip(' "').isascii() and value.strip(' "').isdigit():
                seconds = min(float(value.strip(' "')[:6]), MAX_WAIT_SECONDS)
            case _:
                pass
    return seconds


def expected_revision(headers: RequestHeaders) -> int | None:
    """Return the revision in `If-Match`; None for any revision: without the header, or for `*`.

    Raises:
        ApiProblem: 412 for an unknown entity tag, 422 for a malformed one.

    """
    text = headers.get("If-Match", "*").strip()
    if text == "*":
        return None
    match = _ETAG.fullmatch(text)
    if match is None:
        message = 'expected an `ETag` such as "3", or *'
        raise invalid([FieldError("If-Match", "bad_etag", message)])
    weak, tag = match.groups()
    if weak or not tag.isascii() or not tag.isdigit() or len(tag) > 15:
        raise ApiProblem(412, "revision_mismatch", f"unknown ETag {text}", more={"changed": {}})
    return int(tag)


def idempotency_key(headers: RequestHeaders) -> str | None:
    """Return the idempotency key of a request; None when there is none.

    Raises:
        ApiProblem: 422 for an invalid key, or for several keys.

    """
    keys = set(headers.getall("Idempotency-Key", ()))
    if len(keys) > 1:
        raise invalid([FieldError("Idempotency-Key", "bad_key", "expected one key, not several")])
    key = next(iter(keys), None)
    if key is not None and not (0 < len(key) <= MAX_IDEMPOTENCY_KEY_CHARACTERS and key.isprintable()):
        message = f"expected 1 to {MAX_IDEMPOTENCY_KEY_CHARACTERS} printable characters"
        raise invalid([FieldError("Idempotency-Key", "bad_key", message)])
    return key


def traceparent(headers: RequestHeaders) -> str:
    """Return the W3C trace context of the request; "" when there is none, or it is invalid."""
    text = headers.get("traceparent", "")
    return text if _TRACEPARENT.fullmatch(text) else ""


def etag(revision: int) -> dict[str, str]:
    """Return the `ETag` header of a revision."""
    return {"ETag": f'"{revision}"'}
