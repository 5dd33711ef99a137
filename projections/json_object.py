"""Parse a JSON object from an untrusted text, with bounds on size and depth."""

import json
from typing import Any, Final

from schemas.json_depth import MAX_JSON_DEPTH, is_too_deep

MAX_JSON_BYTES: Final = 256 * 1024


class InvalidJsonError(ValueError):
    """The text is not an acceptable JSON object."""


def json_object(what: str, text: str) -> dict[str, Any]:
    """Parse a JSON object; `what` names the text in messages.

    Raises:
        InvalidJsonError: it is too large, not JSON, not an object, or nested too deep.

    """
    size = len(text.encode())
    if size > MAX_JSON_BYTES:
        raise InvalidJsonError(f"the {what} has {size} bytes; {MAX_JSON_BYTES} is the most")
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or is_too_deep(value):
        # The message of the parser is left out: it differs between Python versions, and events must not.
        raise InvalidJsonError(f"the {what} has to be a JSON object, at most {MAX_JSON_DEPTH} levels deep")
    return value


def _refuse_constant(name: str) -> None:
    """Refuse `NaN` and `Infinity`, which Python takes and JSON does not have."""
    raise ValueError(name)
