"""The building blocks of expressions: functions from a message to a value. None means absent.

Every value is bounded: integers from -2^63 to 2^64 - 1, finite floats, texts of at most 64 KiB. Values out of bounds
are absent, so operators only check types. Objects and lists pass through unchecked. Integers are exact: one that is out
of bounds is noted in the budget of the message, as is a float that is too large to be exact where a text or an integer
is made of it. Long texts spend the budget; the only error is `TooCostlyError`, once it is exceeded.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from projections.mapping.budget import SHORT_CHARACTERS, Budget, search_work
from projections.mapping.numbers import MAX_FLOAT, MAX_UNSIGNED, MIN_INTEGER, is_inexact, read_number

Evaluate = Callable[[dict[str, Any], Budget], Any]
Operation = Callable[[Any, Any], Any]

MAX_TEXT_BYTES: Final = 64 * 1024
SAFE_CHARACTERS: Final = MAX_TEXT_BYTES // 4  # a text of this length fits in any case
UNLIMITED: Final = 1_000  # arguments; an expression has fewer nodes


class InexactNumberError(Exception):
    """A function needs the exact value of a float that may be rounded."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number


SCALAR_TYPES: Final = MappingProxyType({str: "text", int: "number", float: "number", bool: "boolean"})


def bounded(value: Any, budget: Budget) -> Any:
    """Return the value if it is within bounds, or None. A long text spends its length."""
    kind = type(value)
    if kind is str:
        return value if len(value) <= SHORT_CHARACTERS else _bounded_text(value, budget)
    if kind is int:
        return value if MIN_INTEGER <= value <= MAX_UNSIGNED else budget.note_inexact(value)
    return None if kind is float and not -MAX_FLOAT <= value <= MAX_FLOAT else value


def _bounded_text(text: str, budget: Budget) -> str | None:
    if len(text) > MAX_TEXT_BYTES:
        return None
    budget.spend(text, len(text))
    is_bounded = len(text) <= SAFE_CHARACTERS or len(text.encode("utf-8", "surrogatepass")) <= MAX_TEXT_BYTES
    return text if is_bounded else None


def literal(value: Any) -> Evaluate:
    """Build a constant."""
    return lambda _message, _budget: value


NULL: Final = literal(None)


def field(path: tuple[str, ...]) -> Evaluate:
    """Build a reader of a member of the message, or of a nested object."""
    name, *inner = path

    def top(message: dict[str, Any], budget: Budget) -> Any:
        value = message.get(name)
        is_short = type(value) is str and len(value) <= SHORT_CHARACTERS  # the common case, without a call
        return value if is_short else bounded(value, budget)

    def nested(message: dict[str, Any], budget: Budget) -> Any:
        value = message.get(name)
        for member in inner:
            if type(value) is not dict:
                return None
            value = value.get(member)
        return bounded(value, budget)

    return nested if inner else top


def arithmetic(operation: Operation) -> Callable[[Evaluate, Evaluate], Evaluate]:
    """Build + - * / of two operands."""

    def build(left: Evaluate, right: Evaluate) -> Evaluate:
        def evaluate(message: dict[str, Any], budget: Budget) -> Any:
            one, other = left(message, budget), right(message, budget)
            if SCALAR_TYPES.get(type(one)) != "number" or SCALAR_TYPES.get(type(other)) != "number":
                return None
            try:
                return bounded(operation(one, other), budget)
            except ZeroDivisionError:
                return None

        return evaluate

    return build


def equality(*, expected: bool) -> Callable[[Evaluate, Evaluate], Evaluate]:
    """Build == (`expected` is true) or != of two operands. A comparison with `NULL` tests for an absent value.

    Values of different types differ. Objects and lists can't be compared.
    """

    def build(left: Evaluate, right: Evaluate) -> Evaluate:
        def evaluate(message: dict[str, Any], budget: Budget) -> Any:
            one, other = left(message, budget), right(message, budget)
            kind, other_kind = SCALAR_TYPES.get(type(one)), SCALAR_TYPES.get(type(other))
            if kind is None or other_kind is None:
                return None
            return (kind == other_kind and one == other) is expected

        def is_absent(message: dict[str, Any], budget: Budget) -> Any:
            return (left(message, budget) is right(message, budget)) is expected

        return is_absent if left is NULL or right is NULL else evaluate

    return build


def ordering(operation: Operation) -> Callable[[Evaluate, Evaluate], Evaluate]:
    """Build < <= > >= of two numbers, or of two texts by code points."""

    def build(left: Evaluate, right: Evaluate) -> Evaluate:
        def evaluate(message: dict[str, Any], budget: Budget) -> Any:
            one, other = left(message, budget), right(message, budget)
            kind = SCALAR_TYPES.get(type(one))
            comparable = kind in {"number", "text"} and kind == SCALAR_TYPES.get(type(other))
            return operation(one, other) if comparable else None

        return evaluate

    return build


def logic(*, decisive: bool) -> Callable[[Evaluate, Evaluate], Evaluate]:
    """Build `or` (true is decisive) or `and` (false is decisive) of two operands.

    One decisive operand is enough, even if the other one is absent.
    """

    def build(left: Evaluate, right: Evaluate) -> Evaluate:
        def evaluate(message: dict[str, Any], budget: Budget) -> Any:
            one = left(message, budget)
            if one is decisive:
                return decisive
            other = right(message, budget)
            if other is decisive:
                return decisive
            return not decisive if type(one) is bool and type(other) is bool else None

        return evaluate

    return build


def negation(operand: Evaluate) -> Evaluate:
    """Build `not` of an operand."""

    def evaluate(message: dict[str, Any], budget: Budget) -> Any:
        value = operand(message, budget)
        return not value if type(value) is bool else None

    return evaluate


def minus(operand: Evaluate) -> Evaluate:
    """Build the unary minus of an operand."""
    return arithmetic(operator.sub)(literal(0), operand)


def choice(condition: Evaluate, yes: Evaluate, no: Evaluate) -> Evaluate:
    """Build `if`, which is absent if the condition is."""

    def evaluate(message: dict[str, Any], budget: Budget) -> Any:
        value = condition(message, budget)
        if type(value) is not bool:
            return None
        return yes(message, budget) if value else no(message, budget)

    return evaluate


def first_present(*operands: Evaluate) -> Evaluate:
    """Build `coalesce`."""

    def evaluate(message: dict[str, Any], budget: Budget) -> Any:
        return next((value for operand in operands if (value := operand(message, budget)) is not None), None)

    return evaluate


def _number(value: Any) -> Any:
    if type(value) is str:
        return read_number(value)
    return value if SCALAR_TYPES.get(type(value)) == "number" else None


def _integer(value: Any) -> Any:
    number = _number(value)
    return None if number is None else int(_exact(number))  # drops the fraction


def _string(value: Any) -> Any:
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is float and _exact(value).is_integer():
        return str(int(value))  # a JSON serializer may write 7 as 7.0
    return str(value) if type(value) in SCALAR_TYPES else None


def _exact(number: float) -> float:
    if is_inexact(number):
        raise InexactNumberError(number)
    return number


def _concat(*values: Any) -> Any:
    texts = [value if type(value) is str else _string(value) for value in values]
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
    """A function: the types of its parameters (`object` accepts any), and the number of its arguments.

    If it searches, its first arguments are the text and the pattern.
    """

    body: Callable[..., Any]
    parameters: tuple[type, ...]
    min_arguments: int
    max_arguments: int
    is_search: bool = False

    def build(self, *arguments: Evaluate) -> Evaluate:
        """Build a call. Its value is absent if an argument is absent or has the wrong type."""
        types = self.parameters * (1 if self.max_arguments < UNLIMITED else len(arguments))
        checked = tuple(zip(arguments, types, strict=False))
        body, is_search = self.body, self.is_search
        first, kind = checked[0]

        def evaluate_one(message: dict[str, Any], budget: Budget) -> Any:  # like `evaluate`, but faster
            value = first(message, budget)
            if type(value) is not kind and (value is None or kind is not object):
                return None
            try:
                return bounded(body(value), budget)
            except InexactNumberError as error:
                return budget.note_inexact(error.number)

        def evaluate(message: dict[str, Any], budget: Budget) -> Any:
            values: list[Any] = []
            for argument, parameter in checked:
                value = argument(message, budget)
                if type(value) is not parameter and (value is None or parameter is not object):
                    return None
                values.append(value)
            if is_search and len(values[0]) > SHORT_CHARACTERS:
                budget.spend(values[0], search_work(values[0], values[1]))
            try:
                return bounded(body(*values), budget)
            except InexactNumberError as error:
                return budget.note_inexact(error.number)

        return evaluate if len(checked) > 1 else evaluate_one


@dataclass(frozen=True, slots=True)
class ArgumentForm:
    """A form with the syntax of a function that decides which of its arguments are evaluated."""

    build: Callable[..., Evaluate]
    min_arguments: int
    max_arguments: int


FUNCTIONS: Final[MappingProxyType[str, Function | ArgumentForm]] = MappingProxyType(
    {
        "if": ArgumentForm(choice, 3, 3),
        "coalesce": ArgumentForm(first_present, 1, UNLIMITED),
        "concat": Function(_concat, (object,), 1, UNLIMITED),
        "contains": Function(operator.contains, (str, str), 2, 2, is_search=True),
        "integer": Function(_integer, (object,), 1, 1),
        "length": Function(len, (str,), 1, 1),
        "lower": Function(str.lower, (str,), 1, 1),
        "number": Function(_number, (object,), 1, 1),
        "replace": Function(_replace, (str, str, str), 3, 3, is_search=True),
        "split": Function(_split, (str, str, int), 3, 3, is_search=True),
        "string": Function(_string, (object,), 1, 1),
        "substring": Function(_substring, (str, int, int), 2, 3),
        "trim": Function(str.strip, (str,), 1, 1),
        "upper": Function(str.upper, (str,), 1, 1),
    }
)
