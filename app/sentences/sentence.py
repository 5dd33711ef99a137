"""Make the sentence of a code and its parameters. Total: every record on a topic has one, also of foreign producers.

In a template `{name}` is a parameter, with Python's conversions and formats (`{max:,}`, `{value!r}`); lists are joined
by commas. `{cause}` is the sentence of the error behind this one. A part in square brackets is left out when a
parameter in it is absent or empty; `{name:?}` prints nothing, and leaves the part out when the parameter is false or 0.
"""

import re
from collections.abc import Mapping
from string import Formatter
from typing import Any, Final

from app.sentences.codes import ACTIONS, SENTENCES
from schemas.coded import CAUSE, CodedError, Param, Params, cause_of

MAX_CAUSES: Final = 5
CONDITION: Final = "?"
COMMAND_PARAMS: Final = frozenset({"command", "allowed"})  # others may hold any text
MESSAGES: Final = "[{count:,} of {messages:,} messages, first index {first_index}: ]"  # of a record, in a dead letter
_PART: Final = re.compile(r"\[([^\[\]]*)\]")

Table = Mapping[str, str]


def sentence(code: str, params: Params, provider: str = "") -> str:
    """Return the sentence of a code. The table of a provider's connector takes precedence."""
    return _sentence(code, params, _table(provider), MAX_CAUSES)


def sentence_of(error: CodedError, provider: str = "") -> str:
    """Return the sentence of an error for the log, with the message of a library or a provider if there is one."""
    text = sentence(error.code, error.params, provider)
    return f"{text} ({error.detail})" if error.detail else text


def letter_sentence(code: str, params: Params, provider: str = "") -> str:
    """Return the sentence of a dead letter, which may be about several messages of a record."""
    return fill(MESSAGES, params) + sentence(code, params, provider)


def fields_of(template: str) -> tuple[set[str], set[str]]:
    """Return the parameters that a template needs, and those in parts that may be left out."""
    optional = {name for part in _PART.findall(template) for name in _names(part)}
    return set(_names(_PART.sub("", template))), optional


def _table(provider: str) -> Table:
    if not provider:
        return {}
    from connectors.catalog import connector  # noqa: PLC0415  # roles that run no connectors need not load them

    plugin = connector(provider)
    return plugin.sentences if plugin else {}


def _sentence(code: str, params: Params, table: Table, causes: int) -> str:
    template = table.get(code) or SENTENCES.get(code)
    if template is None:
        return ", ".join(
            [code or "unknown error", *(f"{name}: {_shown(name, params[name])}" for name in sorted(params))]
        )
    return fill(template, params, table, causes)


def fill(template: str, params: Params, table: Table | None = None, causes: int = MAX_CAUSES) -> str:
    """Return a template with the values of its parameters."""
    fields = _Fields(params, table or {}, causes)
    chosen = _PART.sub(lambda part: part[1] if fields.has_all_of(part[1]) else "", template)
    return fields.vformat(chosen, (), {})


def _shown(name: str, value: Param) -> Param:
    """Return a value as sentences show it: lists joined, and commands of jobs under the names of their actions."""
    if name in COMMAND_PARAMS:
        commands = value if isinstance(value, tuple | list) else (value,)
        return ", ".join(ACTIONS.get(str(command), str(command)) for command in commands if command is not None)
    return ", ".join(value) if isinstance(value, tuple | list) else value


def _names(part: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(part) if name is not None]


class _Fields(Formatter):
    """The values of one sentence."""

    def __init__(self, params: Params, table: Table, causes: int) -> None:
        self._params = params
        self._table = table
        self._causes = causes

    def has_all_of(self, part: str) -> bool:
        """Whether no parameter in a part is absent, empty or, as a condition, false."""
        return all(self._has(name, spec or "") for _, name, spec, _ in Formatter().parse(part) if name is not None)

    def _has(self, name: str, spec: str) -> bool:
        value = self._value(name)
        return bool(value) if spec == CONDITION else value not in {None, ""}

    def _value(self, name: str) -> Param:
        if name == CAUSE:
            code, params = cause_of(self._params)
            return _sentence(code, params, self._table, self._causes - 1) if code and self._causes else ""
        return _shown(name, self._params.get(name))

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> tuple[Any, str]:  # noqa: ARG002  # Formatter's signature
        """Return the value of a parameter; names may have points in them."""
        return self._value(field_name), field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        """Format a value; one that the format doesn't suit is shown as it is, and an absent one as an ellipsis."""
        if format_spec == CONDITION:
            return ""
        try:
            return "…" if value is None else format(value, format_spec)
        except (ValueError, TypeError):
            return str(value)


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
