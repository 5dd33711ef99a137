"""Expressions and mappings accept or refuse any text, rules and message, within bounds."""

import json
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from app.sentences.codes import SENTENCES
from projections.mapping.body_parser import InvalidRulesError
from projections.mapping.budget import Budget
from projections.mapping.converters import MAX_SUM, millionths
from projections.mapping.expression import OPERATORS, InvalidExpressionError, compile_expression
from projections.mapping.expression_functions import FUNCTIONS, MAX_TEXT_BYTES, UNLIMITED
from projections.mapping.mapper import MAX_KEY_BYTES, Mapper, make_mapper
from projections.mapping.mapping import (
    TYPES,
    TYPES_BY_MERGE,
    AttributeRule,
    Constant,
    Field,
    IdentityKind,
    IdentityRule,
    IdentityRules,
    MappingRules,
    check_rules,
    parse_identity,
    parse_mapping,
)
from projections.mapping.numbers import MAX_PADDED_CHARACTERS
from schemas.coded import are_bounded
from schemas.timestamps.formats import MAX_CHARACTERS
from tests.laws.json_values import MESSAGES, NAMES, SCALARS, VALUES

SIGNS = [*OPERATORS, *FUNCTIONS, *"(),.-`' \n", "not ", "true", "null", "1", "2.5", "'@'", "a", "b.a", "`odd name`"]
WORDS = st.lists(st.sampled_from(SIGNS), max_size=12).map(" ".join)


@st.composite
def expressions(draw: st.DrawFn, levels: int = 4) -> tuple[str, str, int]:
    """Generate an expression, the same fully parenthesised, and the precedence of its outermost operator."""
    kind = draw(st.sampled_from(["literal", "field", "field", "operator", "operator", "not", "minus", "call"]))
    if not levels or kind in {"literal", "field"}:
        literals = ["1", "2.5", "0", "'a'", "'it''s'", "'12'", "true", "false", "null", "9223372036854775807"]
        fields = ["a", "b", "a.b", "`odd name`", "`back``tick`", "``", "a.`odd name`.b"]
        text = draw(st.sampled_from(fields if kind == "field" else literals))
        return text, text, 9
    inner = expressions(levels - 1)
    match kind:
        case "operator":
            sign, power = draw(st.sampled_from([(sign, operation.precedence) for sign, operation in OPERATORS.items()]))
            left, right = draw(inner), draw(inner)
            loosest = power + 1 if power == 4 else power  # comparisons can't be chained
            plain = f"{bracketed(left, loosest)} {sign} {bracketed(right, power + 1)}"
            return plain, f"(({left[1]}) {sign} ({right[1]}))", power
        case "not":
            operand = draw(inner)
            return f"not {bracketed(operand, 3)}", f"(not ({operand[1]}))", 3
        case "minus":
            operand = draw(inner)
            return f"-{bracketed(operand, 8)}", f"(-({operand[1]}))", 8
        case _:
            name = draw(st.sampled_from(sorted(FUNCTIONS)))
            max_size = (
                min(FUNCTIONS[name].max_arguments, 3)
                if FUNCTIONS[name].max_arguments == UNLIMITED
                else FUNCTIONS[name].max_arguments
            )
            arguments = draw(st.lists(inner, min_size=FUNCTIONS[name].min_arguments, max_size=max_size))
            plain, full = (", ".join(argument[form] for argument in arguments) for form in (0, 1))
            return f"{name}({plain})", f"{name}({full})", 9


def bracketed(expression: tuple[str, str, int], power: int) -> str:
    return expression[0] if expression[2] >= power else f"({expression[0]})"


def result_or_refusal(function: Callable[[Any], Any], argument: Any) -> Any:
    """Return the result of a function, or the error that it raises."""
    try:
        return function(argument)
    except (InvalidExpressionError, InvalidRulesError) as refusal:
        return refusal


def is_bounded(value: Any) -> bool:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass")) <= MAX_TEXT_BYTES
    if isinstance(value, float):
        return value - value == 0
    return not isinstance(value, int) or -(2**63) <= value < 2**64


@given(st.text(max_size=60) | WORDS, MESSAGES)
@example("``", {})
@example("a" + ".a" * 990, {})
def test_any_text_is_an_expression_or_has_an_error_position(text: str, message: dict[str, Any]) -> None:
    result = result_or_refusal(compile_expression, text)
    if isinstance(result, InvalidExpressionError):
        assert 1 <= result.position <= len(text) + 1
    else:
        assert is_bounded(result.evaluate(message, Budget()))


@given(expressions(), MESSAGES)
def test_redundant_brackets_change_nothing(expression_texts: tuple[str, str, int], message: dict[str, Any]) -> None:
    with suppress(InvalidExpressionError):  # it is too large
        plain, full = compile_expression(expression_texts[0]), compile_expression(expression_texts[1])
        value = plain.evaluate(message, Budget())
        assert is_bounded(value)
        assert value == full.evaluate(message, Budget())
        assert plain.fields == full.fields


@given(expressions(), MESSAGES)
def test_an_expression_reads_only_its_fields(expression_texts: tuple[str, str, int], message: dict[str, Any]) -> None:
    with suppress(InvalidExpressionError):
        expression = compile_expression(expression_texts[0])
        tops = {path[0] for path in expression.fields}
        before = deepcopy(message)
        value = expression.evaluate(message, Budget())
        assert message == before
        assert (
            expression.evaluate({name: member for name, member in message.items() if name in tops}, Budget()) == value
        )


ZONES = st.sampled_from(["UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"])
FORMATS = st.sampled_from(["auto", "epoch_s", "epoch_ms", "epoch_us", "%d/%m/%Y", "%Y-%m-%d %H:%M"])
KINDS = ("email", "tail")
RULES = st.builds(
    lambda one, other: IdentityRules((IdentityKind("email", one, "Mail"), IdentityKind("tail", other, "Tail number"))),
    st.integers(0, 99),
    st.integers(0, 99),
)
SIXTEEN = "x" * 16
GROWN = f"replace(replace(replace('{SIXTEEN}', 'x', '{SIXTEEN}'), 'x', '{SIXTEEN}'), 'x', '{SIXTEEN}')"  # 64 KiB
COSTLY = " + ".join([f"length({GROWN})"] * 15)  # more than half of the budget of a message
SOURCES = st.one_of(
    st.fixed_dictionaries({"field": st.sampled_from([name for name in NAMES if name])}),
    st.fixed_dictionaries(
        {"expr": st.sampled_from(["a", "a.b", "lower(a)", "a * 1.5", "coalesce(b, `odd name`)", COSTLY])}
    ),
)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Generate a valid mapping."""
    attributes = []
    for index in range(draw(st.integers(0, 8))):
        merge = draw(st.sampled_from(sorted(TYPES_BY_MERGE)))
        source = {} if merge == "count" and draw(st.booleans()) else draw(SOURCES)
        kind = draw(st.sampled_from(TYPES_BY_MERGE[merge]))
        attributes.append({"name": f"attribute {index}", "merge": merge, "type": kind} | source)
    sources = st.builds(lambda source, kind: source | {"kind": kind}, SOURCES, st.sampled_from(KINDS))
    when = {"field": "b", "format": draw(st.lists(FORMATS, min_size=1, max_size=3)), "time_zone": draw(ZONES)}
    return {
        "identities": draw(st.lists(sources, min_size=1, max_size=8)),
        "attributes": attributes,
        "timestamp": draw(st.sampled_from([None, when])),
    }


def make(body: dict[str, Any], identity: IdentityRules) -> tuple[Mapper, MappingRules]:
    rules = parse_mapping(body)
    check_rules({"s": rules}, identity)
    return make_mapper("s", rules, identity), rules


def is_typed(attribute: AttributeRule, value: Any) -> bool:
    if attribute.merge == "count":
        return type(value) is int and value == 1
    if attribute.merge == "sum":
        return type(value) is int and -MAX_SUM <= value <= MAX_SUM
    types = {"string": {str}, "boolean": {bool}, "number": {int, float}, "integer": {int}, "timestamp": {int}}
    return attribute.type == "json" or type(value) in types[attribute.type]


@given(bodies(), RULES, st.lists(MESSAGES, max_size=4))
def test_any_messages_are_mapped_within_bounds(
    body: dict[str, Any], identity: IdentityRules, messages: list[dict[str, Any]]
) -> None:
    mapper, rules = make(body, identity)
    for message in messages:
        before = deepcopy(message)
        mapped = mapper.map(message, 7)
        assert message == before
        if mapped is None:
            continue
        key, links, timestamp, values = mapped
        assert [key, *links] == sorted({key, *links})
        for ranked_key in (key, *links):
            rank, kind, value = ranked_key.split(":", 2)
            assert identity.ranks()[kind] == int(rank)
            assert value == value.strip() != ""
            assert len(f"{kind}:{value}".encode()) <= MAX_KEY_BYTES
        assert timestamp == 7 or rules.timestamp
        assert len(mapper.columns) == len(values)
        for attribute, value in zip(rules.attributes, values, strict=True):
            assert value is None or is_typed(attribute, value)
        assert len(orjson.dumps(values)) <= len(values) * (2 * MAX_TEXT_BYTES) + 2
    faults = mapper.drain_faults()
    for (part, code), (count, example_text, index) in faults.items():
        assert part.partition(" ")[0] in {"attribute", "identity", "timestamp"}
        assert code
        assert 1 <= count <= len(messages) * 8
        assert len(example_text) <= 80
        assert example_text.isprintable()
        assert 0 <= index < len(messages)
    assert mapper.drain_faults() == {}


@given(bodies(), RULES, MESSAGES, MESSAGES)
def test_mapping_does_not_depend_on_previous_messages(
    body: dict[str, Any], identity: IdentityRules, message: dict[str, Any], other: dict[str, Any]
) -> None:
    used, fresh = make(body, identity)[0], make(body, identity)[0]
    used.map(other, 1)
    assert used.map(message, 2) == fresh.map(message, 2)


@given(RULES, st.lists(SCALARS, min_size=1, max_size=6))
def test_keys_are_ordered_by_rank_and_value(identity: IdentityRules, values: list[Any]) -> None:
    names = [f"f{index}" for index in range(len(values))]
    sources = tuple(IdentityRule(Field(name), KINDS[index % 2]) for index, name in enumerate(names))
    mapped = make_mapper("s", MappingRules(sources, ()), identity).map(dict(zip(names, values, strict=True)), 0)
    if mapped:
        keys = [mapped[0], *mapped[1]]
        assert keys == sorted(keys, key=lambda key: (int(key[:2]), key[3:]))


@given(VALUES | bodies(), st.data())
def test_any_body_is_parsed_or_refused_with_pointers(body: Any, data: st.DataObject) -> None:
    if isinstance(body, dict) and body.get("identities") and data.draw(st.booleans()):
        part: Any = data.draw(st.sampled_from([body, *body["identities"], *body.get("attributes", [])]))
        if isinstance(part, dict):
            part[data.draw(st.sampled_from([*part, "more"]))] = data.draw(VALUES)
    for parse in (parse_mapping, parse_identity):
        result = result_or_refusal(parse, body)
        if isinstance(result, InvalidRulesError):
            assert result.problems
            for problem in result.problems:
                assert problem.code in SENTENCES
                assert are_bounded(problem.params)
                assert points_into(body, problem.pointer)


def points_into(value: Any, pointer: str) -> bool:
    """Whether a pointer leads to a value, or to a missing member."""
    for step in pointer.split("/")[1:]:
        if isinstance(value, list):
            value = value[int(step)]
        else:
            value = value.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(value, dict) else None
    return not pointer or pointer.startswith("/")


@given(st.sampled_from(TYPES), st.sampled_from(sorted(TYPES_BY_MERGE)), VALUES)
def test_a_constant_equals_a_field_with_its_value(kind: str, merge: str, value: Any) -> None:
    attribute = {"name": "x", "type": kind, "merge": merge}
    body = {"identities": [{"expr": "'me'", "kind": "email"}], "attributes": [attribute | {"constant": value}]}
    identity = IdentityRules((IdentityKind("email", 0, ""),))
    rules = result_or_refusal(parse_mapping, body)
    if isinstance(rules, InvalidRulesError) or value is None:
        return
    assert rules.attributes[0].source == Constant(value)
    field_rules = replace(rules, attributes=(replace(rules.attributes[0], source=Field("x")),))
    assert make_mapper("s", rules, identity).map({}, 0) == make_mapper("s", field_rules, identity).map({"x": value}, 0)


@given(
    st.sampled_from(["integer", "number", "boolean", "timestamp"]),
    st.sampled_from(["", "7", "true", "2026-01-01", "no value"]),
    st.integers(0, 2 * MAX_PADDED_CHARACTERS),
    st.integers(0, 2 * MAX_PADDED_CHARACTERS),
)
def test_white_space_around_a_value_changes_nothing_up_to_a_limit_and_is_a_fault_beyond_it(
    kind: str, text: str, before: int, after: int
) -> None:
    body = {"identities": [{"expr": "'me'", "kind": "email"}],
            "attributes": [{"name": "x", "field": "a", "type": kind, "merge": "latest"}]}  # fmt: skip
    mapper = make_mapper("s", parse_mapping(body), IdentityRules((IdentityKind("email", 0, ""),)))
    padded = " " * before + text + "\t" * after
    limit = MAX_CHARACTERS if kind == "timestamp" and text else MAX_PADDED_CHARACTERS
    results = []
    for value in (padded, text):
        mapped = mapper.map({"a": value}, 0)
        assert mapped
        results.append((mapped[3], [code for _, code in mapper.drain_faults()]))
    if len(padded) <= limit:
        assert results[0] == results[1]
    else:
        assert results[0] == ([None], ["bad_timestamp" if kind == "timestamp" else "wrong_type"])


@given(st.floats(-1e13, 1e13) | st.integers(-(10**13), 10**13) | st.floats(-1, 1).map(lambda number: number / 1e5))
@example(5e-7)
@example(1.5e-6)
@example(-2.5e-6)
@example(0.1 + 0.2)
@example(8_796_093.0222085)
@example(float(2**53) / 1e6)
def test_a_sum_counts_the_decimal_representation(number: float) -> None:
    with localcontext(prec=60):
        expected = int((Decimal(repr(number)) * 1_000_000).quantize(Decimal(1), ROUND_HALF_EVEN))
    result = millionths(number)
    assert result == expected if abs(expected) <= MAX_SUM else result is None


@given(VALUES)
def test_small_json_stays_unchanged(value: Any) -> None:
    body = {"identities": [{"expr": "'me'", "kind": "email"}],
            "attributes": [{"name": "x", "field": "a", "type": "json", "merge": "latest"}]}  # fmt: skip
    mapper = make_mapper("s", parse_mapping(body), IdentityRules((IdentityKind("email", 0, ""),)))
    mapped = mapper.map({"a": value}, 0)
    assert mapped
    if mapped[3][0] is not None:
        assert mapped[3] == [value]
        assert len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) <= MAX_TEXT_BYTES
    else:
        assert value is None or mapper.faults
