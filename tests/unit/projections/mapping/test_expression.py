"""Expressions as people write them: what they give, what is absent, and what is said about a mistake."""

from time import process_time
from typing import Any

import pytest

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
    "nan": float("nan"),
    "infinite": float("inf"),
    "long": "x" * (MAX_TEXT_BYTES + 1),
    "wide": "é" * (MAX_TEXT_BYTES // 2 + 1),
    "whole": "é" * (MAX_TEXT_BYTES // 2),
}


def value(text: str) -> Any:
    return compile_expression(text).evaluate(MESSAGE)


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
        ("length(whole)", MAX_TEXT_BYTES // 2),
    ],
)
def test_what_can_be_computed(text: str, expected: Any) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "text",
    [
        "missing", "nothing", "address.missing", "first.inner", "missing.inner", "tags.a",
        "1 / 0", "1 / (quantity - 4)", "price / 0.0", "most + 1", "0 - most - 2", "most * most", "1e308 * 10",
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
def test_what_can_not_be_computed_is_absent(text: str) -> None:
    assert value(text) is None


@pytest.mark.parametrize("text", ["no and missing", "missing and no", "no and 1", "not (yes or missing)"])
def test_what_is_decided_needs_no_other_side(text: str) -> None:
    assert value(text) is False
    assert value(f"not ({text})") is True


def test_a_text_that_would_grow_too_long_is_absent_at_once() -> None:
    thousand = "'" + "x" * 1_000 + "'"
    grown = compile_expression(f"replace(replace(a, 'x', {thousand}), 'x', 'yy')")
    assert grown.evaluate({"a": "x" * 65}) is None
    assert grown.evaluate({"a": "x" * 20}) == "y" * 40_000
    assert grown.evaluate({"a": "x" * 60_000}) is None
    assert compile_expression("concat(a, a)").evaluate({"a": "x" * MAX_TEXT_BYTES}) is None
    assert compile_expression("upper(a)").evaluate({"a": "ŉ" * 30_000}) is None
    assert compile_expression("substring(a, 1)").evaluate({"a": "\ud800" * 30_000}) is None


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", 1, "a name, a text, a number or a bracket was expected, not the end"),
        ("   ", 4, "not the end"),
        ("1 +", 4, "not the end"),
        ("1 2", 3, "an operator or the end was expected, not `2`"),
        ("(1", 3, "an operator or a closing bracket was expected, not the end"),
        ("1)", 2, "not `)`"),
        ("lower(a b)", 9, "an operator, a comma or a closing bracket was expected, not `b`"),
        ("lower(a,)", 9, "not `)`"),
        ("a..b", 3, "a name was expected, not `.`"),
        ("a.1", 3, "a name was expected, not `1`"),
        ("and", 1, "not `and`"),
        ("a == 'b", 6, "no second '"),
        ("`a", 1, "no second `"),
        ('a == "b"', 6, "a text stands in single quotes, an odd name in backticks"),
        ("a = b", 3, "'=' means nothing"),
        ("a & b", 3, "'&' means nothing"),
        ("a[0]", 2, "'[' means nothing"),
        ("٣", 1, "means nothing"),
        ("\ud800", 1, r"'\ud800' means nothing"),
        ("a == b == c", 8, "comparisons can't follow each other"),
        ("a < b <= c", 7, "comparisons can't follow each other"),
        ("__import__('os')", 1, "`__import__` is none of coalesce, concat"),
        ("Lower(a)", 1, "is none of"),
        ("lower()", 1, "`lower` takes 1 argument, not 0"),
        ("if(a, b)", 1, "`if` takes 3 arguments, not 2"),
        ("substring(a)", 1, "`substring` takes 2 to 3 arguments, not 1"),
        ("concat()", 1, "`concat` takes 1 or more arguments, not 0"),
        ("1e999", 1, "the number is too large"),
        ("1 + 9223372036854775808", 5, "the number is too large"),
        ("99999999999999999999", 1, "the number is too large"),
        ("(" * 2_000, MAX_LEVELS + 1, "more than 64 levels of nesting"),
        ("not " * 400, 4 * MAX_LEVELS + 1, "more than 64 levels"),
        ("-" * 2_000, MAX_LEVELS + 1, "more than 64 levels"),
        ("+".join("1" * 400), 500, "at most 500 parts"),
        ("a" * 2_001, 2_001, "at most 2000 characters"),
    ],
)
def test_a_mistake_is_shown_where_it_is(text: str, position: int, words: str) -> None:
    started = process_time()
    with pytest.raises(InvalidExpressionError) as refusal:
        compile_expression(text)
    assert process_time() - started < 1
    assert refusal.value.position == position
    assert str(refusal.value).startswith(f"at character {position}: ")
    assert words in str(refusal.value)


def test_as_much_as_is_allowed_is_computed() -> None:
    assert value("+".join("1" * 250)) == 250
    assert value("(" * (MAX_LEVELS - 1) + "1" + ")" * (MAX_LEVELS - 1)) == 1
    assert value(f"concat({','.join(['first'] * 300)})") == "Ada" * 300


def test_an_expression_knows_what_it_reads() -> None:
    text = "if(b.c == 1, a, lower(`odd.name`.x)) + a"
    expression = compile_expression(text)
    assert expression.fields == (("a",), ("b", "c"), ("odd.name", "x"))
    assert expression == compile_expression(text)
    assert compile_expression("1").fields == ()


def test_the_page_of_the_language_names_no_function_that_is_not_there() -> None:
    assert {"coalesce", "if", "lower", "split", "number", "integer", "string", "trim", "concat"} <= FUNCTIONS.keys()
