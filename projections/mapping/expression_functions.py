"""What expressions are made of: small functions from a message to a value. None is "absent"; nothing here raises.

Every value in here is bounded: integers within 64 bits, finite floats, texts of at most 64 KiB. What isn't, is absent;
so operators need to look at types only. Objects and lists are passed on unseen.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from projections.mapping.numbers import number_in, sound_number

Evaluate = Callable[[dict[str, Any]], Any]
Operation = Callable[[Any, Any], Any]

MAX_TEXT_BYTES: Final = 64 * 1024
SHORT: Final = MAX_TEXT_BYTES // 4  # a text of so many characters is within the bound, whatever they are
UNENDING: Final = 1_000  # arguments; there are fewer nodes in an expression

KINDS: Final = MappingProxyType({str: "text", int: "number", float: "number", bool: "boolean"})


def bounded(value: Any) -> Any:
    """Return a value within the bounds, or None."""
    kind = type(value)
    if kind is str:
        return value if len(value) <= SHORT or _fits(value) else None
    return sound_number(value) if kind is int or kind is float else value


def _fits(text: str) -> bool:
    return len(text) <= MAX_TEXT_BYTES and len(text.encode("utf-8", "surrogatepass")) <= MAX_TEXT_BYTES


def literal(value: Any) -> Evaluate:
    """Return what has the same value for every message."""
    return lambda _: value


NULL: Final = literal(None)


def field(path: tuple[str, ...]) -> Evaluate:
    """Return what reads a member of the message, or of an object in it."""
    name, *inner = path

    def top(message: dict[str, Any]) -> Any:
        return bounded(message.get(name))

    def nested(message: dict[str, Any]) -> Any:
        value = message.get(name)
        for each in inner:
            if type(value) is not dict:
                return None
            value = value.get(each)
        return bounded(value)

    return nested if inner else top


def arithmetic(operation: Operation) -> Callable[[Evaluate, Evaluate], Evaluate]:
    """Return what makes + - * / of two parts."""

    def of(left: Evaluate, right: Evaluate) -> Evaluate:
        def evaluate(message: dict[str, Any]) -> Any:
            one, other = left(message), right(message)
            if KINDS.get(type(one)) != "number" or KINDS.get(type(other)) != "number":
                return None
            try:
                return sound_number(operation(one, other))
            except ZeroDivisionError:
                return None

        return evaluate

    return of


def equality(*, wanted: bool) -> Callable[[Evaluate, Evaluate], Evaluate]:
    """Return what makes == (or != when `wanted` is false) of two parts; `NULL` asks whether the other one is absent.

    Values of different kinds differ. Whether objects or lists are equal isn't computed.
    """

    def of(left: Evaluate, right: Evaluate) -> Evaluate:
        def evaluate(message: dict[str, Any]) -> Any:
            one, other = left(message), right(message)
            kind, other_kind = KINDS.get(type(one)), KINDS.get(type(other))
            if kind is None or other_kind is None:
                return None
            return (kind == other_kind and one == other) is wanted

        def asks(message: dict[str, Any]) -> Any:
            return (left(message) is right(message)) is wanted

        return asks if left is NULL or right is NULL else evaluate

    return of


def ordering(operation: Operation) -> Callable[[Evaluate, Evaluate], Evaluate]:
    """Return what makes < <= > >= of two parts: of two numbers, or of two texts by code points."""

    def of(left: Evaluate, right: Evaluate) -> Evaluate:
        def evaluate(message: dict[str, Any]) -> Any:
            one, other = left(message), right(message)
            kind = KINDS.get(type(one))
            comparable = kind in {"number", "text"} and kind == KINDS.get(type(other))
            return operation(one, other) if comparable else None

        return evaluate

    return of


def logic(*, decisive: bool) -> Callable[[Evaluate, Evaluate], Evaluate]:
    """Return what makes `or` (where true is decisive) or `and` (where false is) of two parts.

    One decisive part is enough, even when the other is absent.
    """

    def of(left: Evaluate, right: Evaluate) -> Evaluate:
        def evaluate(message: dict[str, Any]) -> Any:
            one = left(message)
            if one is decisive:
                return decisive
            other = right(message)
            if other is decisive:
                return decisive
            return not decisive if type(one) is bool and type(other) is bool else None

        return evaluate

    return of


def negation(part: Evaluate) -> Evaluate:
    """Return what makes `not` of a part."""

    def evaluate(message: dict[str, Any]) -> Any:
        value = part(message)
        return not value if type(value) is bool else None

    return evaluate


def minus(part: Evaluate) -> Evaluate:
    """Return what makes the negative of a part."""
    return arithmetic(operator.sub)(literal(0), part)


def choice(condition: Evaluate, yes: Evaluate, no: Evaluate) -> Evaluate:
    """Return what makes `if`: nothing when the condition is absent."""

    def evaluate(message: dict[str, Any]) -> Any:
        value = condition(message)
        if type(value) is not bool:
            return None
        return yes(message) if value else no(message)

    return evaluate


def first_present(*parts: Evaluate) -> Evaluate:
    """Return what makes `coalesce`."""

    def evaluate(message: dict[str, Any]) -> Any:
        return next((value for part in parts if (value := part(message)) is not None), None)

    return evaluate


def _number(value: Any) -> Any:
    return number_in(value) if type(value) is str else sound_number(value)


def _integer(value: Any) -> Any:
    number = _number(value)
    return None if number is None else int(number)  # without its fraction


def _string(value: Any) -> Any:
    if type(value) is bool:
        return "true" if value else "false"
    return str(value) if type(value) in KINDS else None


def _concat(*values: Any) -> Any:
    texts = [each if type(each) is str else _string(each) for each in values]
    return None if None in texts else "".join(texts)


def _substring(text: str, start: int, length: int = MAX_TEXT_BYTES) -> Any:
    start = max(len(text) + start, 0) if start < 0 else start
    return text[start : start + length] if length >= 0 else None


def _replace(text: str, old: str, new: str) -> Any:
    if not old or len(text) + text.count(old) * (len(new) - len(old)) > MAX_TEXT_BYTES:
        return None
    return text.replace(old, new)


def _split(text: str, separator: str, index: int) -> Any:
    parts = text.split(separator) if separator else []
    return parts[index] if -len(parts) <= index < len(parts) else None


@dataclass(frozen=True, slots=True)
class Function:
    """A function by name: its parameters' types (`object` takes any), and how many arguments it needs and takes."""

    body: Callable[..., Any]
    parameters: tuple[type, ...]
    least: int
    most: int

    def of(self, *arguments: Evaluate) -> Evaluate:
        """Return what calls it: absent as soon as an argument is absent or of another type."""
        wanted = self.parameters * (1 if self.most < UNENDING else len(arguments))
        checked = tuple(zip(arguments, wanted, strict=False))
        body = self.body

        def evaluate(message: dict[str, Any]) -> Any:
            values = []
            for argument, parameter in checked:
                value = argument(message)
                if value is None or (type(value) is not parameter and parameter is not object):
                    return None
                values.append(value)
            return bounded(body(*values))

        return evaluate


@dataclass(frozen=True, slots=True)
class ArgumentForm:
    """What looks like a function, and decides itself which of its arguments are evaluated."""

    of: Callable[..., Evaluate]
    least: int
    most: int


FUNCTIONS: Final[MappingProxyType[str, Function | ArgumentForm]] = MappingProxyType(
    {
        "if": ArgumentForm(choice, 3, 3),
        "coalesce": ArgumentForm(first_present, 1, UNENDING),
        "concat": Function(_concat, (object,), 1, UNENDING),
        "contains": Function(operator.contains, (str, str), 2, 2),
        "integer": Function(_integer, (object,), 1, 1),
        "length": Function(len, (str,), 1, 1),
        "lower": Function(str.lower, (str,), 1, 1),
        "number": Function(_number, (object,), 1, 1),
        "replace": Function(_replace, (str, str, str), 3, 3),
        "split": Function(_split, (str, str, int), 3, 3),
        "string": Function(_string, (object,), 1, 1),
        "substring": Function(_substring, (str, int, int), 2, 3),
        "trim": Function(str.strip, (str,), 1, 1),
        "upper": Function(str.upper, (str,), 1, 1),
    }
)
