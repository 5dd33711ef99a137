"""A JSON object in a text from outside: its size and depth are bounded, whatever the interpreter would take."""

import json
from typing import Any, Final

MAX_JSON_BYTES: Final = 256 * 1024
MAX_JSON_DEPTH: Final = 64


class InvalidJsonError(ValueError):
    """The text can't be taken. The message says what was found and what is needed."""


def json_object(what: str, text: str) -> dict[str, Any]:
    """Return the object in a text; `what` names the text for people.

    Raises:
        InvalidJsonError: it is too large, no JSON, no object, or nested too deep.

    """
    size = len(text.encode())
    if size > MAX_JSON_BYTES:
        raise InvalidJsonError(f"the {what} has {size} bytes; {MAX_JSON_BYTES} is the most")
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or not _is_shallow(value):
        # The parser's own words stay out of it: they differ between Python versions, and events must not.
        raise InvalidJsonError(f"the {what} has to be a JSON object, at most {MAX_JSON_DEPTH} levels deep")
    return value


def _refuse_constant(name: str) -> None:
    """Refuse `NaN` and `Infinity`, which Python takes and JSON does not have."""
    raise ValueError(name)


def _is_shallow(value: object) -> bool:
    """Whether it is at most `MAX_JSON_DEPTH` deep; far less than what would depend on the interpreter's stack."""
    level = [value]
    for _ in range(MAX_JSON_DEPTH):
        containers = [each for each in level if isinstance(each, dict | list)]
        level = [child for each in containers for child in (each.values() if isinstance(each, dict) else each)]
    return not any(isinstance(each, dict | list) for each in level)
