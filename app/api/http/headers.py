"""What a client says in headers about a write: how long it waits, at which revision, and under which key it is done."""

import re
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy

from app.api.http.problems import ApiProblem, FieldError, invalid

DEFAULT_SECONDS: Final = 5.0
MAX_WAIT_SECONDS: Final = 15.0  # an edit is up to three commands, and a request has sixty
ANY: Final = None
MAX_IDEMPOTENCY_KEY: Final = 200

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

_ETAG: Final = re.compile(r'(W/)?"([^"]*)"')
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def wait_seconds(headers: Headers) -> float:
    """Return for how many seconds a write waits until it is visible (RFC 7240); a preference not understood is none."""
    seconds = DEFAULT_SECONDS
    for each in ",".join(headers.getall("Prefer", ())).split(","):
        name, _, value = each.partition(";")[0].strip().partition("=")
        match name.strip().lower():
            case "respond-async":
                return 0.0
            case "wait" if value.strip(' "').isascii() and value.strip(' "').isdigit():
                seconds = min(float(value.strip(' "')[:6]), MAX_WAIT_SECONDS)
            case _:
                pass
    return seconds


def expected_revision(headers: Headers) -> int | None:
    """Return the revision in `If-Match`; None when any will do.

    Raises:
        Problem: 412 for an entity tag that this service never gave, 422 for what is none at all.

    """
    text = headers.get("If-Match", "*").strip()
    if text == "*":
        return ANY
    found = _ETAG.fullmatch(text)
    if found is None:
        message = 'an `ETag` as it was given, such as "3", is needed; or *'
        raise invalid([FieldError("If-Match", "bad_etag", message)])
    weak, tag = found.groups()
    if weak or not tag.isascii() or not tag.isdigit() or len(tag) > 15:
        raise ApiProblem(412, "revision_mismatch", f"nothing here ever had the entity tag {text}", more={"changed": {}})
    return int(tag)


def idempotency_key(headers: Headers) -> str | None:
    """Return the key under which a request is done once, however often it comes; None when there is none.

    Raises:
        Problem: 422, it is none that can be kept.

    """
    keys = set(headers.getall("Idempotency-Key", ()))
    if len(keys) > 1:
        raise invalid([FieldError("Idempotency-Key", "bad_key", "one key is needed, and not several")])
    key = next(iter(keys), None)
    if key is not None and not (0 < len(key) <= MAX_IDEMPOTENCY_KEY and key.isprintable()):
        message = f"a key has 1 to {MAX_IDEMPOTENCY_KEY} printable characters"
        raise invalid([FieldError("Idempotency-Key", "bad_key", message)])
    return key


def traceparent(headers: Headers) -> str:
    """Return the W3C trace context of the request, to be passed on; "" when there is none."""
    text = headers.get("traceparent", "")
    return text if _TRACEPARENT.fullmatch(text) else ""


def etag(revision: int) -> dict[str, str]:
    """Return the header that names a revision."""
    return {"ETag": f'"{revision}"'}
