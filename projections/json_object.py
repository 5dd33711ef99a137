"""Parse a JSON object from an untrusted text, with bounds on size and depth."""

import json
from typing import Any, Final

from schemas.coded import CodedError
from schemas.json_values import MAX_JSON_DEPTH, is_too_deep

MAX_JSON_BYTES: Final = 256 * 1024


class InvalidJsonError(CodedError):
    """The text is no JSON object within the bounds."""


def json_object(text: str) -> dict[str, Any]:
    """Return the JSON object in a text.

    Raises:
        InvalidJsonError: it is too large, not JSON, not an object, or nested too deep.

    """
    size = len(text.encode())
    if size > MAX_JSON_BYTES:
        raise InvalidJsonError("json_too_large", {"bytes": size, "max": MAX_JSON_BYTES})
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or is_too_deep(value):
        # The parser's own words are left out: they differ between Python versions, and events must not.
        raise InvalidJsonError("not_a_json_object", {"max_depth": MAX_JSON_DEPTH})
    return value


def _refuse_constant(name: str) -> None:
    """Refuse `NaN` and `Infinity`, which Python takes and JSON does not have."""
    raise ValueError(name)
