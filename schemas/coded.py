"""Codes with typed parameters, for refusals, errors and dead letters.

Events hold codes and no sentences, so that sentences can be improved without changing history. `app.sentences` formats
the sentences. Parameters are JSON-safe and bounded.
"""

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, Final

Param = bool | int | float | str | tuple[str, ...] | None
Params = Mapping[str, Param]

MAX_PARAMS: Final = 32
MAX_PARAM_CHARACTERS: Final = 4_000  # of all names and texts together: keeps the state of a job small
MAX_PARAM_TEXT: Final = 1_000  # characters of one text
MAX_PARAM_ITEMS: Final = 30  # of one list
CAUSE: Final = "cause"  # the code of the causing error; its parameters are `cause.…`


class CodedError(Exception):
    """A stable code with its parameters. The edge formats the sentence; `str` is for developers.

    `detail` is the message of a provider or library, without secrets.
    """

    def __init__(self, code: str, params: Params | None = None, *, detail: str = "") -> None:
        super().__init__(code, params)
        self.code = code
        self.params: Params = params or {}
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code}{dict(self.params)}"


def because(code: str, error: CodedError) -> CodedError:
    """Return an error with this code, and the other error as its cause."""
    return CodedError(code, caused_by(error.code, error.params), detail=error.detail)


def caused_by(code: str, params: Params) -> dict[str, Param]:
    """Return parameters that describe another error as the cause."""
    return {CAUSE: code, **{f"{CAUSE}.{name}": value for name, value in params.items()}}


def cause_of(params: Params) -> tuple[str, Params]:
    """Return the code and the parameters of the cause added by `caused_by`; without a cause the code is empty."""
    code, prefix = params.get(CAUSE), f"{CAUSE}."
    inner = {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}
    return (code if isinstance(code, str) else ""), inner


def fit_params(params: object) -> dict[str, Param]:
    """Convert parameters to valid, bounded values of type `Param`, as events require.

    Accepts any value, because external connectors may return invalid ones.
    """
    items = params.items() if isinstance(params, Mapping) else (("value", params),)
    named = {clean_text(str(name)): value for name, value in items}
    fitted: dict[str, Param] = {}
    left = MAX_PARAM_CHARACTERS
    for name in sorted(named)[:MAX_PARAMS]:
        left -= len(name)
        if left < 0:
            break
        fitted[name] = value = _fit(named[name], min(left, MAX_PARAM_TEXT))
        left -= sum(map(len, _texts(value)))
    return fitted


def are_bounded(params: Params) -> bool:
    """Whether parameters are within the bounds of `fit_params`."""
    floats = (value for value in params.values() if isinstance(value, float))
    size = sum(len(name) + sum(map(len, _texts(value))) for name, value in params.items())
    return len(params) <= MAX_PARAMS and size <= MAX_PARAM_CHARACTERS and all(map(isfinite, floats))


def clean_text(text: str) -> str:
    """Return a text that every store accepts: valid UTF-8, without U+0000."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def truncate(text: str, max_characters: int) -> str:
    """Truncate a text to at most `max_characters`."""
    return text if len(text) <= max_characters else f"{text[: max(max_characters - 1, 0)]}…"[:max_characters]


def _fit(value: Any, max_characters: int) -> Param:
    match value:
        case None | bool():
            return value
        case int() if -(2**63) <= value < 2**63:
            return value
        case float() if isfinite(value):
            return value
        case tuple() | list():
            return tuple(_fit_items(value, max_characters))
        case _:
            return truncate(clean_text(str(value)), max_characters)


def _fit_items(items: tuple[Any, ...] | list[Any], max_characters: int) -> Iterator[str]:
    for item in items[:MAX_PARAM_ITEMS]:
        text = truncate(clean_text(str(item)), max_characters)
        max_characters -= len(text)
        yield text


def _texts(value: Param) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return value if isinstance(value, tuple) else ()
