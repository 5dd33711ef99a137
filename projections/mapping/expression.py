"""Simple typed expressions over one message, parsed from text; nothing of it is run as Python.

    lower(trim(email))                      concat(first, ' ', `last name`)
    if(address.country == 'AT', 'domestic', 'abroad')
    coalesce(number(price), 0) * quantity   split(email, '@', 1)

Names read a member of the message, with points a member of an object in it. Other names than letters, digits and `_`
stand in backticks, texts in single quotes; each quote is doubled to stand for itself. Operators, loosest first:
`or`, `and`, `not`, one of `== != < <= > >=`, `+ -`, `* /`, and a minus sign. Functions: those in
`expression_parts.FUNCTIONS`; positions and indexes count from 0, negative ones from the end.

What can't be computed (a missing field, a wrong type, a division by zero, a number out of bounds) is absent, which
is None, as is JSON's null. What needs an absent part is absent: a comparison too, or an `if` without its condition.
But `x == null` asks for it, `coalesce` steps over it, and `false and x` and `true or x` are decided without it.
"""

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from projections.mapping import expression_functions as parts
from projections.mapping.expression_functions import FUNCTIONS, UNENDING, Evaluate
from projections.mapping.numbers import sound_number

MAX_CHARACTERS: Final = 2_000
MAX_LEVELS: Final = 64  # of brackets and operators inside each other
MAX_NODES: Final = 500  # names, literals, operators, functions and brackets


class InvalidExpressionError(ValueError):
    """The text is no expression. The message says what was expected at which character, counted from 1."""

    def __init__(self, position: int, message: str) -> None:
        super().__init__(f"at character {position}: {message}")
        self.position = position


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that can be asked for its value. `fields` are the paths of the members that it reads, in order.

    `evaluate` takes any JSON object, never raises, and returns None for "absent".
    """

    text: str
    fields: tuple[tuple[str, ...], ...] = field(compare=False)
    evaluate: Evaluate = field(compare=False, repr=False)


def compile_expression(text: str) -> Expression:
    """Parse an expression.

    Raises:
        InvalidExpressionError: it isn't one, or is too large.

    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidExpressionError(MAX_CHARACTERS + 1, f"an expression has at most {MAX_CHARACTERS} characters")
    parser = _Parser(text)
    evaluate = parser.whole()
    return Expression(text, tuple(sorted(parser.fields)), evaluate)


class _Token(NamedTuple):
    kind: str  # number, name, quoted, text, sign, or end
    text: str
    position: int

    def shown(self) -> str:
        return "the end" if self.kind == "end" else f"`{self.text}`"


_TOKEN: Final = re.compile(
    r"""(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[^\W\d]\w*)
      | (?P<quoted>`(?:[^`]|``)*`)
      | (?P<text>'(?:[^']|'')*')
      | (?P<sign>[=!<>]=|[-+*/<>(),.])
      | (?P<space>\s+)""",
    re.VERBOSE,
)


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            raise InvalidExpressionError(position + 1, _unreadable(text[position]))
        if found.lastgroup != "space":
            yield _Token(found.lastgroup, found.group(), position + 1)
        position = found.end()
    yield _Token("end", "", position + 1)


def _unreadable(sign: str) -> str:
    if sign in "'`":
        return f"what begins with this {sign} has no second {sign} to end it"
    if sign == '"':
        return "a text stands in single quotes, an odd name in backticks"
    return f"{sign!r} means nothing in an expression"


class _Operator(NamedTuple):
    power: int  # how closely it binds
    of: Callable[[Evaluate, Evaluate], Evaluate]


LOOSEST, NOT, COMPARISON, SIGN = 0, 3, 4, 7
OPERATORS: Final = MappingProxyType(
    {
        "or": _Operator(1, parts.logic(decisive=True)),
        "and": _Operator(2, parts.logic(decisive=False)),
        "==": _Operator(COMPARISON, parts.equality(wanted=True)),
        "!=": _Operator(COMPARISON, parts.equality(wanted=False)),
        "<": _Operator(COMPARISON, parts.ordering(operator.lt)),
        "<=": _Operator(COMPARISON, parts.ordering(operator.le)),
        ">": _Operator(COMPARISON, parts.ordering(operator.gt)),
        ">=": _Operator(COMPARISON, parts.ordering(operator.ge)),
        "+": _Operator(5, parts.arithmetic(operator.add)),
        "-": _Operator(5, parts.arithmetic(operator.sub)),
        "*": _Operator(6, parts.arithmetic(operator.mul)),
        "/": _Operator(6, parts.arithmetic(operator.truediv)),
    }
)
CONSTANTS: Final = MappingProxyType({"true": True, "false": False})
RESERVED: Final = frozenset({"or", "and", "not", "null", *CONSTANTS})


class _Parser:
    """A walk over the tokens of one text. Each nested call of `expression` is one level."""

    def __init__(self, text: str) -> None:
        self.fields: set[tuple[str, ...]] = set()
        self._tokens = tuple(_tokens(text))
        self._at = 0
        self._nodes = 0
        self._level = 0

    def whole(self) -> Evaluate:
        found = self._expression(LOOSEST)
        self._expect("end", "", "an operator or the end")
        return found

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at += token.kind != "end"
        return token

    def _accept(self, sign: str) -> bool:
        token = self._tokens[self._at]
        found = token.kind == "sign" and token.text == sign
        self._at += found
        return found

    def _expect(self, kind: str, sign: str, wanted: str) -> None:
        token = self._next()
        if (token.kind, token.text) != (kind, sign):
            raise InvalidExpressionError(token.position, f"{wanted} was expected, not {token.shown()}")

    def _node(self, evaluate: Evaluate, token: _Token) -> Evaluate:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise InvalidExpressionError(token.position, f"an expression has at most {MAX_NODES} parts")
        return evaluate

    def _expression(self, power: int) -> Evaluate:
        self._level += 1
        if self._level > MAX_LEVELS:
            raise InvalidExpressionError(self._tokens[self._at].position, f"more than {MAX_LEVELS} levels of nesting")
        left, above = self._operand(), SIGN
        while (found := self._operator()) and power < found.power:
            token = self._next()
            if found.power == above == COMPARISON:
                raise InvalidExpressionError(token.position, "comparisons can't follow each other; join them by `and`")
            left, above = self._node(found.of(left, self._expression(found.power)), token), found.power
        self._level -= 1
        return left

    def _operator(self) -> _Operator | None:
        token = self._tokens[self._at]
        return OPERATORS.get(token.text) if token.kind in {"sign", "name"} else None

    def _operand(self) -> Evaluate:
        token = self._next()
        match token.kind, token.text:
            case ("number" | "text", _) | ("name", "true" | "false" | "null"):
                found = parts.NULL if token.text == "null" else parts.literal(_value(token))
            case "name", "not":
                found = parts.negation(self._expression(NOT))
            case "sign", "-":
                found = parts.minus(self._expression(SIGN))
            case "sign", "(":
                found = self._expression(LOOSEST)
                self._expect("sign", ")", "an operator or a closing bracket")
            case "name", name if name not in RESERVED:
                found = self._call(token) if self._accept("(") else self._field(name)
            case "quoted", _:
                found = self._field(_unquoted(token))
            case _:
                wanted = "a name, a text, a number or a bracket"
                raise InvalidExpressionError(token.position, f"{wanted} was expected, not {token.shown()}")
        return self._node(found, token)

    def _field(self, name: str) -> Evaluate:
        path = [name]
        while self._accept("."):
            member = self._next()
            if member.kind not in {"name", "quoted"}:
                raise InvalidExpressionError(member.position, f"a name was expected, not {member.shown()}")
            path.append(_unquoted(member) if member.kind == "quoted" else member.text)
        self.fields.add(tuple(path))
        return parts.field(tuple(path))

    def _call(self, name: _Token) -> Evaluate:
        function = FUNCTIONS.get(name.text)
        if function is None:
            raise InvalidExpressionError(name.position, f"`{name.text}` is none of {', '.join(sorted(FUNCTIONS))}")
        arguments: list[Evaluate] = []
        if not self._accept(")"):
            arguments.append(self._expression(LOOSEST))
            while self._accept(","):
                arguments.append(self._expression(LOOSEST))
            self._expect("sign", ")", "an operator, a comma or a closing bracket")
        if not function.least <= len(arguments) <= function.most:
            wanted = _range(function.least, function.most)
            raise InvalidExpressionError(name.position, f"`{name.text}` takes {wanted}, not {len(arguments)}")
        return function.of(*arguments)


def _value(token: _Token) -> Any:
    if token.kind == "text":
        return _unquoted(token)
    return CONSTANTS[token.text] if token.kind == "name" else _number(token)


def _number(token: _Token) -> int | float:
    plain = token.text.isdigit()
    number = sound_number(int(token.text) if plain and len(token.text) < 20 else float(token.text))
    if number is None or (plain and type(number) is float):
        raise InvalidExpressionError(token.position, "the number is too large")
    return number


def _unquoted(token: _Token) -> str:
    quote = token.text[0]
    return token.text[1:-1].replace(quote * 2, quote)


def _range(least: int, most: int) -> str:
    if most == UNENDING:
        return f"{least} or more arguments"
    wanted = str(least) if least == most else f"{least} to {most}"
    return f"{wanted} argument{'' if most == 1 else 's'}"
