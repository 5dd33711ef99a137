"""Parse and evaluate simple typed expressions over one message. Expressions never run as Python code.

    lower(trim(email))                      concat(first, ' ', `last name`)
    if(address.country == 'AT', 'domestic', 'abroad')
    coalesce(number(price), 0) * quantity   split(email, '@', 1)

A name reads a member of the message; a dotted name reads a member of a nested object. Names with characters other than
letters, digits and `_` are quoted with backticks, texts with single quotes; double a quote to include it.
Operators by increasing precedence: `or`, `and`, `not`, one of `== != < <= > >=`, `+ -`, `* /`, and unary minus.
Functions: see `expression_functions.FUNCTIONS`. Positions and indexes start at 0; negative ones count from the end.

A value that can't be computed (a missing field, a wrong type, a division by zero, a number out of bounds) is absent:
None, like JSON's null. An operation with an absent operand is absent, comparisons and conditions included. Exceptions:
`x == null` tests for it, `coalesce` skips it, and `false and x` and `true or x` don't need it. Integers are exact up
to 64 bits; a larger one is absent, and reported.
"""

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from projections.mapping import expression_functions as functions
from projections.mapping.expression_functions import FUNCTIONS, UNLIMITED, Evaluate
from projections.mapping.numbers import bounded_number
from schemas.coded import CodedError, Params

MAX_CHARACTERS: Final = 2_000
MAX_LEVELS: Final = 64  # of nested brackets and operators
MAX_NODES: Final = 500  # names, literals, operators, functions and brackets


class InvalidExpressionError(CodedError):
    """The text is not a valid expression, from the character at `position` on, counted from 1."""

    def __init__(self, position: int, code: str, params: Params) -> None:
        super().__init__(code, {**params, "position": position})
        self.position = position


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression. `fields` are the paths of the members that it reads, in order.

    `evaluate` takes any JSON object and the budget of this message, and returns None for "absent". It raises only
    `TooCostlyError`, when the budget is exceeded.
    """

    text: str
    fields: tuple[tuple[str, ...], ...] = field(compare=False)
    evaluate: Evaluate = field(compare=False, repr=False)


def compile_expression(text: str) -> Expression:
    """Parse an expression.

    Raises:
        InvalidExpressionError: it is invalid or too large.

    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidExpressionError(MAX_CHARACTERS + 1, "expression_too_long", {"max": MAX_CHARACTERS})
    parser = _Parser(text)
    evaluate = parser.parse()
    return Expression(text, tuple(sorted(parser.fields)), evaluate)


class _Token(NamedTuple):
    kind: str  # number, name, quoted, text, sign or end
    text: str
    position: int


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
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise _token_problem(position + 1, text[position])
        if match.lastgroup != "space":
            yield _Token(match.lastgroup, match.group(), position + 1)
        position = match.end()
    yield _Token("end", "", position + 1)


def _token_problem(position: int, sign: str) -> InvalidExpressionError:
    if sign in "'`":
        return InvalidExpressionError(position, "expression_unclosed", {"sign": sign})
    if sign == '"':
        return InvalidExpressionError(position, "expression_double_quotes", {})
    return InvalidExpressionError(position, "expression_character", {"character": sign})


class _Operator(NamedTuple):
    precedence: int
    build: Callable[[Evaluate, Evaluate], Evaluate]


LOWEST, NOT, COMPARISON, SIGN = 0, 3, 4, 7
OPERATORS: Final = MappingProxyType(
    {
        "or": _Operator(1, functions.logic(decisive=True)),
        "and": _Operator(2, functions.logic(decisive=False)),
        "==": _Operator(COMPARISON, functions.equality(expected=True)),
        "!=": _Operator(COMPARISON, functions.equality(expected=False)),
        "<": _Operator(COMPARISON, functions.ordering(operator.lt)),
        "<=": _Operator(COMPARISON, functions.ordering(operator.le)),
        ">": _Operator(COMPARISON, functions.ordering(operator.gt)),
        ">=": _Operator(COMPARISON, functions.ordering(operator.ge)),
        "+": _Operator(5, functions.arithmetic(operator.add)),
        "-": _Operator(5, functions.arithmetic(operator.sub)),
        "*": _Operator(6, functions.arithmetic(operator.mul)),
        "/": _Operator(6, functions.arithmetic(operator.truediv)),
    }
)
CONSTANTS: Final = MappingProxyType({"true": True, "false": False})
RESERVED: Final = frozenset({"or", "and", "not", "null", *CONSTANTS})


class _Parser:
    """A recursive descent parser of one text. Each nested call of `_expression` is one level."""

    def __init__(self, text: str) -> None:
        self.fields: set[tuple[str, ...]] = set()
        self._tokens = tuple(_tokens(text))
        self._at = 0
        self._nodes = 0
        self._level = 0

    def parse(self) -> Evaluate:
        evaluate = self._expression(LOWEST)
        self._expect("end", "", ("operator", "end"))
        return evaluate

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at += token.kind != "end"
        return token

    def _accept(self, sign: str) -> bool:
        token = self._tokens[self._at]
        accepted = token.kind == "sign" and token.text == sign
        self._at += accepted
        return accepted

    def _expect(self, kind: str, sign: str, expected: tuple[str, ...]) -> None:
        token = self._next()
        if (token.kind, token.text) != (kind, sign):
            raise _unexpected(token, expected)

    def _node(self, evaluate: Evaluate, token: _Token) -> Evaluate:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise InvalidExpressionError(token.position, "expression_too_large", {"max": MAX_NODES})
        return evaluate

    def _expression(self, precedence: int) -> Evaluate:
        self._level += 1
        if self._level > MAX_LEVELS:
            raise InvalidExpressionError(self._tokens[self._at].position, "expression_too_deep", {"max": MAX_LEVELS})
        left, previous = self._operand(), SIGN
        while (operation := self._operator()) and precedence < operation.precedence:
            token = self._next()
            if operation.precedence == previous == COMPARISON:
                raise InvalidExpressionError(token.position, "chained_comparison", {})
            right = self._expression(operation.precedence)
            left, previous = self._node(operation.build(left, right), token), operation.precedence
        self._level -= 1
        return left

    def _operator(self) -> _Operator | None:
        token = self._tokens[self._at]
        return OPERATORS.get(token.text) if token.kind in {"sign", "name"} else None

    def _operand(self) -> Evaluate:
        token = self._next()
        match token.kind, token.text:
            case ("number" | "text", _) | ("name", "true" | "false" | "null"):
                evaluate = functions.NULL if token.text == "null" else functions.literal(_value(token))
            case "name", "not":
                evaluate = functions.negation(self._expression(NOT))
            case "sign", "-":
                evaluate = functions.minus(self._expression(SIGN))
            case "sign", "(":
                evaluate = self._expression(LOWEST)
                self._expect("sign", ")", ("operator", ")"))
            case "name", name if name not in RESERVED:
                evaluate = self._call(token) if self._accept("(") else self._field(name)
            case "quoted", _:
                evaluate = self._field(_unquoted(token))
            case _:
                raise _unexpected(token, ("name", "text", "number", "("))
        return self._node(evaluate, token)

    def _field(self, name: str) -> Evaluate:
        path = [name]
        while self._accept("."):
            member = self._next()
            if member.kind not in {"name", "quoted"}:
                raise _unexpected(member, ("name",))
            path.append(_unquoted(member) if member.kind == "quoted" else member.text)
        self.fields.add(tuple(path))
        return functions.field(tuple(path))

    def _call(self, name: _Token) -> Evaluate:
        function = FUNCTIONS.get(name.text)
        if function is None:
            raise InvalidExpressionError(
                name.position, "unknown_function", {"function": name.text, "functions": tuple(sorted(FUNCTIONS))}
            )
        arguments: list[Evaluate] = []
        if not self._accept(")"):
            arguments.append(self._expression(LOWEST))
            while self._accept(","):
                arguments.append(self._expression(LOWEST))
            self._expect("sign", ")", ("operator", ",", ")"))
        if not function.min_arguments <= len(arguments) <= function.max_arguments:
            minimum, maximum = function.min_arguments, function.max_arguments
            params: Params = {"function": name.text, "found": len(arguments), **_arguments(minimum, maximum)}
            raise InvalidExpressionError(name.position, "wrong_argument_count", params)
        return function.build(*arguments)


def _unexpected(token: _Token, expected: tuple[str, ...]) -> InvalidExpressionError:
    found = "end" if token.kind == "end" else token.text
    return InvalidExpressionError(token.position, "unexpected_token", {"expected": expected, "found": found})


def _arguments(minimum: int, maximum: int) -> Params:
    if maximum == UNLIMITED:
        return {"at_least": minimum}
    return {"exactly": minimum} if minimum == maximum else {"min": minimum, "max": maximum}


def _value(token: _Token) -> Any:
    if token.kind == "text":
        return _unquoted(token)
    return CONSTANTS[token.text] if token.kind == "name" else _number(token)


def _number(token: _Token) -> int | float:
    is_integer = token.text.isdigit()
    number = bounded_number(int(token.text) if is_integer and len(token.text) < 20 else float(token.text))
    if number is None or (is_integer and type(number) is float):
        raise InvalidExpressionError(token.position, "expression_number", {})
    return number


def _unquoted(token: _Token) -> str:
    quote = token.text[0]
    return token.text[1:-1].replace(quote * 2, quote)
