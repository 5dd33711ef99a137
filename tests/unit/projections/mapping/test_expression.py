"""Expressions: values, absent values, and error messages."""

from time import process_time
from typing import Any

import pytest

from app.sentences.sentence import sentence_of
from projections.mapping.budget import FREE_PATTERN, MAX_PATTERN, MAX_WORK, SHORT_CHARACTERS, Budget, TooCostlyError
from projections.mapping.expression import MAX_LEVELS, InvalidExpressionError, compile_expression
from projections.mapping.expression_functions import FUNCTIONS, MAX_TEXT_BYTES

MESSAGE: dict[str, Any] = {
    "email": "  Ada@Example.org ",
    "first": "Ada",
    "empty": "",
    "odd name": 1,
    "back`tick": 2,
    "größe": 3,
    "and": 4,
    "lower": "a field, not the function",
    "price": 2.5,
    "quantity": 4,
    "text number": " 12.75 ",
    "yes": True,
    "no": False,
    "nothing": None,
    "address": {"country": "AT", "geo": {"lat": 48.2}, "odd.name": 5},
    "tags": ["a", "b"],
    "huge": 2**70,
    "most": 2**63 - 1,
    "unsigned": 2**64 - 1,
    "rounded": 8.943010123456789e20,
    "nested": {"rounded": -(2.0**53)},
    "nan": float("nan"),
    "infinite": float("inf"),
    "long": "x" * (MAX_TEXT_BYTES + 1),
    "wide": "é" * (MAX_TEXT_BYTES // 2 + 1),
    "whole": "é" * (MAX_TEXT_BYTES // 2),
}


def value(text: str) -> Any:
    return compile_expression(text).evaluate(MESSAGE, Budget())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("first", "Ada"),
        ("`first`", "Ada"),
        ("`odd name` + `back``tick` + größe + `and`", 10),
        ("lower", "a field, not the function"),
        ("address.country", "AT"),
        ("address . geo . lat", 48.2),
        ("address.`odd.name`", 5),
        ("tags", ["a", "b"]),
        ("'it''s'", "it's"),
        ("''", ""),
        ("1.5e3", 1500.0),
        ("1 + 2 * 3 - 4 / 8", 6.5),
        ("(1 + 2) * 3", 9),
        ("10 - 3 - 2", 5),
        ("16 / 4 / 2", 2.0),
        ("-quantity * 2", -8),
        ("- - 3", 3),
        ("2 - -3", 5),
        ("1 < 2 and 2.0 <= 2 and 3 > 2 and 3 >= 3", True),
        ("'a' < 'b' and 'b' >= 'B'", True),
        ("1 == 1.0 and 1 != '1' and true != 1 and yes == true", True),
        ("not 1 == 2", True),
        ("not no and yes", True),
        ("no or yes and no", False),
        ("true == not false", True),
        ("nothing == null and missing == null and first != null", True),
        ("null == null and not tags == null and null != address", True),
        ("if(price > 2, 'dear', 'cheap')", "dear"),
        ("if(price > 3, 'dear', 'cheap')", "cheap"),
        ("coalesce(missing, nothing, first, 'x')", "Ada"),
        ("lower(trim(email))", "ada@example.org"),
        ("upper(first)", "ADA"),
        ("concat(first, '-', quantity, '-', price, '-', yes, no)", "Ada-4-2.5-truefalse"),
        ("length('größe')", 5),
        ("contains(email, '@')", True),
        ("replace('a-b-c', '-', '')", "abc"),
        ("split('a@b@c', '@', 1)", "b"),
        ("split('a@b@c', '@', -1)", "c"),
        ("substring('abcdef', 2)", "cdef"),
        ("substring('abcdef', 1, 2)", "bc"),
        ("substring('abcdef', -2)", "ef"),
        ("substring('abcdef', -9, 2)", "ab"),
        ("substring('abcdef', 9)", ""),
        ("number(`text number`)", 12.75),
        ("number('007')", 7),
        ("number('+.5')", 0.5),
        ("number('-1.e2')", -100.0),
        ("number(price)", 2.5),
        ("integer(`text number`)", 12),
        ("integer(0 - price)", -2),
        ("string(12)", "12"),
        ("string(yes)", "true"),
        ("string(first)", "Ada"),
        ("most", 2**63 - 1),
        ("most + 1", 2**63),
        ("concat('sim-', unsigned)", "sim-18446744073709551615"),
        ("number('12345678901234567891')", 12345678901234567891),
        ("string(7.0)", "7"),
        ("concat(16 / 4, '-', -0.0)", "4-0"),
        ("string(9007199254740991.0)", "9007199254740991"),
        ("length(whole)", MAX_TEXT_BYTES // 2),
    ],
)
def test_an_expression_has_a_value(text: str, expected: Any) -> None:
    result = value(text)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    "text",
    [
        "missing", "nothing", "address.missing", "first.inner", "missing.inner", "tags.a",
        "1 / 0", "1 / (quantity - 4)", "price / 0.0", "unsigned + 1", "0 - most - 2", "most * most", "1e308 * 10",
        "huge", "huge == 1", "nan", "nan == nan and yes", "infinite", "infinite - infinite", "long", "wide",
        "1 + '1'", "'a' + 'b'", "yes + 1", "-first", "-missing", "not 1", "not missing",
        "1 < '2'", "yes < no", "missing < 1", "1 < missing", "tags < tags",
        "missing == 1", "1 != missing", "missing == nothing",
        "tags == tags", "address == 1", "1 == tags", "address != address",
        "1 and yes", "yes and missing", "missing and yes", "no or missing", "yes and 'true'",
        "if(missing, 1, 2)", "if('true', 1, 2)", "if(yes, missing, 2)", "if(no, 1, missing)",
        "coalesce(missing, nothing)", "lower(1)", "upper(missing)", "trim(tags)", "length(tags)",
        "concat(first, missing)", "concat(first, tags)", "contains(first, 1)", "replace(first, '', 'x')",
        "split(first, '', 0)", "split(first, 'd', 2)", "split(first, 'd', -3)", "split(first, 'd', 1.0)",
        "substring(first, 0, -1)", "substring(first, '0')", "substring(first, yes)",
        "number('')", "number('12a')", "number('1_000')", "number('٣')", "number('nan')", "number('1e999')",
        "number('99999999999999999999')", "number(yes)", "number(tags)", "integer('x')", "integer(yes)",
        "string(tags)", "string(address)", "integer(1e300)",
    ],
)  # fmt: skip
def test_a_failing_expression_is_absent(text: str) -> None:
    assert value(text) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("huge", 2**70),
        ("string(huge)", 2**70),
        ("concat('sim-', rounded)", 8.943010123456789e20),
        ("concat('sim-', string(rounded))", 8.943010123456789e20),
        ("concat('sim-', nested.rounded)", -(2.0**53)),
        ("string(-9007199254740992.0)", -9007199254740992.0),
        ("string(9007199254740993 * 1.0)", 2.0**53),
        ("integer(rounded)", 8.943010123456789e20),
        ("integer('9007199254740993.0')", 2.0**53),
        ("string(number('8.94301012345678901231e20'))", 8.94301012345678901231e20),
        ("number('18446744073709551616')", 2**64),
        ("unsigned * 10", (2**64 - 1) * 10),
        ("-unsigned", 1 - 2**64),
    ],
)
def test_a_number_that_is_not_exact_is_absent_and_noted(text: str, number: float) -> None:
    budget = Budget()
    assert compile_expression(text).evaluate(MESSAGE, budget) is None
    assert budget.inexact == number


@pytest.mark.parametrize("text", ["rounded + 1", "rounded > 5", "most / 2", "number('1e17')", "missing", "1 / 0"])
def test_a_float_is_a_quantity_and_nothing_is_noted(text: str) -> None:
    budget = Budget()
    compile_expression(text).evaluate(MESSAGE, budget)
    assert budget.inexact is None


@pytest.mark.parametrize("text", ["no and missing", "missing and no", "no and 1", "not (yes or missing)"])
def test_a_decisive_operand_is_enough(text: str) -> None:
    assert value(text) is False
    assert value(f"not ({text})") is True


def test_a_text_that_exceeds_the_limit_is_absent() -> None:
    thousand = "'" + "x" * 1_000 + "'"
    grown = compile_expression(f"replace(replace(a, 'x', {thousand}), 'x', 'yy')")
    assert grown.evaluate({"a": "x" * 65}, Budget()) is None
    assert grown.evaluate({"a": "x" * 20}, Budget()) == "y" * 40_000
    assert grown.evaluate({"a": "x" * 60_000}, Budget()) is None
    assert compile_expression("concat(a, a)").evaluate({"a": "x" * MAX_TEXT_BYTES}, Budget()) is None
    assert compile_expression("upper(a)").evaluate({"a": "ŉ" * 30_000}, Budget()) is None
    assert compile_expression("substring(a, 1)").evaluate({"a": "\ud800" * 30_000}, Budget()) is None


@pytest.mark.parametrize(
    ("text", "work"),
    [
        ("lower(short)", 0),
        ("split(short, 'x', 3)", 0),
        ("too_long", 0),
        ("long", 1_000),
        ("nested.long", 1_000),
        ("upper(long)", 2_000),
        ("concat(long, long, 'x')", 4_001),
        ("if(yes, long, lower(long))", 1_000),
        ("split(long, 'x', 3)", 1_000 + 1_000 // FREE_PATTERN),
        ("contains(long, short)", 1_000 + 1_000 * SHORT_CHARACTERS // FREE_PATTERN),
        ("contains(long, long)", 2_000 + 1_000 * MAX_PATTERN // FREE_PATTERN),
        ("replace(long, 'x', 'yy')", 3_000 + 1_000 // FREE_PATTERN),
    ],
)
def test_long_texts_spend_the_budget(text: str, work: int) -> None:
    budget = Budget()
    long = "x" * 1_000
    message = {"short": "x" * SHORT_CHARACTERS, "long": long, "nested": {"long": long}, "yes": True}
    compile_expression(text).evaluate(message | {"too_long": "x" * (MAX_TEXT_BYTES + 1)}, budget)
    assert MAX_WORK - budget.left == work


def test_an_expression_beyond_the_budget_is_too_costly() -> None:
    budget = Budget()
    expression = compile_expression("coalesce(missing, length(a))")
    for _ in range(MAX_WORK // 50_000):
        assert expression.evaluate({"a": "x" * 50_000}, budget) == 50_000
    with pytest.raises(TooCostlyError) as error:
        expression.evaluate({"a": "y" * 200}, budget)
    assert error.value.text == "y" * 200
    assert expression.evaluate({"a": "short"}, budget) == 5


@pytest.mark.parametrize(
    ("text", "position", "code"),
    [
        ("", 1, "unexpected_token"),
        ("   ", 4, "unexpected_token"),
        ("1 +", 4, "unexpected_token"),
        ("1 2", 3, "unexpected_token"),
        ("(1", 3, "unexpected_token"),
        ("1)", 2, "unexpected_token"),
        ("lower(a b)", 9, "unexpected_token"),
        ("lower(a,)", 9, "unexpected_token"),
        ("a..b", 3, "unexpected_token"),
        ("a.1", 3, "unexpected_token"),
        ("and", 1, "unexpected_token"),
        ("a == 'b", 6, "expression_unclosed"),
        ("`a", 1, "expression_unclosed"),
        ('a == "b"', 6, "expression_double_quotes"),
        ("a = b", 3, "expression_character"),
        ("a & b", 3, "expression_character"),
        ("a[0]", 2, "expression_character"),
        ("٣", 1, "expression_character"),
        ("\ud800", 1, "expression_character"),
        ("a == b == c", 8, "chained_comparison"),
        ("a < b <= c", 7, "chained_comparison"),
        ("__import__('os')", 1, "unknown_function"),
        ("Lower(a)", 1, "unknown_function"),
        ("lower()", 1, "wrong_argument_count"),
        ("if(a, b)", 1, "wrong_argument_count"),
        ("substring(a)", 1, "wrong_argument_count"),
        ("concat()", 1, "wrong_argument_count"),
        ("1e999", 1, "expression_number"),
        ("1 + 9223372036854775808", 5, "expression_number"),
        ("99999999999999999999", 1, "expression_number"),
        ("(" * 2_000, MAX_LEVELS + 1, "expression_too_deep"),
        ("not " * 400, 4 * MAX_LEVELS + 1, "expression_too_deep"),
        ("-" * 2_000, MAX_LEVELS + 1, "expression_too_deep"),
        ("+".join("1" * 400), 500, "expression_too_large"),
        ("a" * 2_001, 2_001, "expression_too_long"),
    ],
)
def test_an_error_names_the_position(text: str, position: int, code: str) -> None:
    started = process_time()
    with pytest.raises(InvalidExpressionError) as error:
        compile_expression(text)
    assert process_time() - started < 1
    assert (error.value.position, error.value.code) == (position, code)
    assert error.value.params["position"] == position


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2", "at character 3: expected one of: operator, end; found 2"),
        ("a..b", "at character 3: expected one of: name; found ."),
        ("lower()", "at character 1: lower takes 1 arguments, found 0"),
        ("substring(a)", "at character 1: substring takes 2 to 3 arguments, found 1"),
        ("concat()", "at character 1: concat takes at least 1 arguments, found 0"),
    ],
)
def test_the_sentence_of_an_error_says_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(InvalidExpressionError) as error:
        compile_expression(text)
    assert sentence_of(error.value) == message


def test_expressions_at_the_limits_are_accepted() -> None:
    assert value("+".join("1" * 250)) == 250
    assert value("(" * (MAX_LEVELS - 1) + "1" + ")" * (MAX_LEVELS - 1)) == 1
    assert value(f"concat({','.join(['first'] * 300)})") == "Ada" * 300


def test_an_expression_lists_the_fields_that_it_reads() -> None:
    text = "if(b.c == 1, a, lower(`odd.name`.x)) + a"
    expression = compile_expression(text)
    assert expression.fields == (("a",), ("b", "c"), ("odd.name", "x"))
    assert expression == compile_expression(text)
    assert compile_expression("1").fields == ()


def test_the_documented_functions_exist() -> None:
    assert {"coalesce", "if", "lower", "split", "number", "integer", "string", "trim", "concat"} <= FUNCTIONS.keys()
