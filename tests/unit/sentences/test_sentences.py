"""Every code that our sources raise has a sentence, and each place gives the parameters that the sentence needs."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sentences import codes
from app.sentences.codes import SENTENCES
from app.sentences.sentence import fields_of, letter_sentence, sentence, sentence_of
from connectors.catalog import catalog
from schemas.coded import CAUSE, CodedError, Param, Params, caused_by
from tests.laws.words import anything

ROOT = Path(__file__).parents[3]
FOLDERS = ("app", "connectors", "projections", "schemas")
# Functions that take a code, and after it its parameters: the position of the code.
CODED = {
    "JobRefusedError": 0, "InvalidJsonError": 0, "InvalidCadenceError": 1, "UnreadableEventError": 0,
    "UnreadableCommandError": 0, "UnreadableRecordError": 0, "UnreadableMessageError": 0, "BadBatchError": 0,
    "CodedError": 0, "FixConfiguration": 0, "RenewAuthorization": 0, "RetryLater": 0, "RateLimited": 0,
    "ConnectorBug": 0, "MalformedBody": 0, "UnusableRecord": 0, "ConfigurationProblem": 1, "field_error": 0,
    "field_error_of": 1, "Reject": 1, "reject": 0, "because": 0, "caused_by": 0,
}  # fmt: skip
WRAPPERS = {"because", "caused_by"}  # their parameters are those of another error


def sites() -> Iterator[tuple[str, str, str, set[str] | None]]:
    """Yield the place, the constructor, the code, and the names of the parameters where a dict displays them all."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and (name := _name(node.func)) in CODED:
                    yield from _site(f"{path.relative_to(ROOT)}:{node.lineno}", name, node.args[CODED[name] :])


def _name(function: ast.expr) -> str:
    return (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )


def _site(place: str, name: str, arguments: list[ast.expr]) -> Iterator[tuple[str, str, str, set[str] | None]]:
    match arguments:
        case [ast.Constant(value=str(code)), *rest]:
            yield place, name, code, _keys(rest[0]) if rest and name not in WRAPPERS else set() if not rest else None
        case [ast.IfExp(body=ast.Constant(value=str(one)), orelse=ast.Constant(value=str(other))), *_]:
            yield place, name, one, None
            yield place, name, other, None
        case _:
            pass


def _keys(params: ast.expr) -> set[str] | None:
    if not isinstance(params, ast.Dict):
        return None
    keys = {key.value for key in params.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    unpacked = [value for key, value in zip(params.keys, params.values, strict=True) if key is None]
    if all(isinstance(value, ast.Call) and _name(value.func) == "caused_by" for value in unpacked):
        return keys | ({CAUSE} if unpacked else set())
    return None


SITES = list(sites())


def test_codes_are_found_in_the_sources() -> None:
    assert len(SITES) > 150


@pytest.mark.parametrize(("place", "name", "code", "given_names"), SITES, ids=lambda value: str(value)[:60])
def test_each_code_has_a_sentence_and_gets_its_parameters(
    place: str, name: str, code: str, given_names: set[str] | None
) -> None:
    del name
    tables = [*(connector.sentences for connector in catalog().values()), SENTENCES]
    templates = [table[code] for table in tables if code in table]
    assert templates, f"{place}: {code} has no sentence in app/sentences/codes.py"
    for template in templates if given_names is not None else ():
        needed, _ = fields_of(template)
        assert needed <= (given_names or set()), f"{place}: {code} lacks {sorted(needed - (given_names or set()))}"


def test_no_sentence_is_of_a_code_that_is_never_raised() -> None:
    text = "".join(path.read_text("utf-8") for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    uses = {code: text.count(f'"{code}"') for code in SENTENCES}
    assert {code for code, count in uses.items() if count < 2} == set()


def test_each_code_stands_in_one_table() -> None:
    tables = [value for name, value in vars(codes).items() if name.isupper() and name not in {"SENTENCES", "ACTIONS"}]
    assert sum(map(len, tables)) == len(SENTENCES)


def test_a_part_is_left_out_when_its_parameter_is_absent_or_empty() -> None:
    whole: dict[str, Param] = {"url": "u", "status": 404, "reason": "Not Found"}
    assert sentence("server_error", whole) == "`u` responded with 404 Not Found"
    assert sentence("server_error", whole | {"reason": ""}) == "`u` responded with 404"
    assert sentence("server_error", {"url": "u", "status": 404}) == "`u` responded with 404"


def test_a_condition_prints_nothing() -> None:
    columns: dict[str, Param] = {"field": "at", "columns": ("id", "time")}
    assert sentence("unknown_timestamp_field", columns | {"more": 0}) == "`at` is not a column; columns: id, time"
    assert sentence("unknown_timestamp_field", columns | {"more": 1_200}).endswith("id, time, and 1,200 more")


def test_a_cause_is_a_sentence_in_the_sentence() -> None:
    inner = caused_by("wrong_column_count", {"columns": 3, "values": 1})
    assert sentence("all_records_rejected", {"records": 2, "position": "row 5", **inner}) == (
        "none of the first 2 records is valid; row 5: expected 3 columns, found 1"
    )


def test_the_sentences_of_a_connector_go_before_our_own() -> None:
    params: Params = {"column": "id"}
    assert "`fields`" in sentence("duplicate_header", params)
    assert "`headers`" in sentence("duplicate_header", params, "collect")
    assert sentence("duplicate_header", params, "unknown") == sentence("duplicate_header", params)


def test_an_unknown_code_is_shown_with_its_parameters() -> None:
    assert sentence("of_tomorrow", {"b": 2, "a": ("x",)}) == "of_tomorrow, a: x, b: 2"
    assert sentence("", {}) == "unknown error"


def test_a_dead_letter_of_several_messages_says_how_many() -> None:
    params: dict[str, Param] = {"target": "attribute age", "value": "'x'", "count": 2, "messages": 6, "first_index": 0}
    assert letter_sentence("wrong_type", params) == (
        "2 of 6 messages, first index 0: attribute age: 'x' has the wrong type"
    )


def test_what_a_library_says_is_for_the_log() -> None:
    assert sentence_of(CodedError("invalid_json", {"at": 7}, detail="trailing comma")) == (
        "invalid JSON at character 7 (trailing comma)"
    )


@given(st.sampled_from([*SENTENCES, "odd"]), anything(Params), st.sampled_from(["", "file", "collect"]))
def test_any_parameters_have_a_sentence(code: str, params: Params, provider: str) -> None:
    assert sentence(code, params, provider)
    assert sentence(code, caused_by(code, caused_by(code, params)), provider)
    names = set().union(*fields_of(SENTENCES.get(code, "")))
    assert sentence(code, dict.fromkeys(names, "text"), provider)


def test_causes_end() -> None:
    params: Params = {}
    for _ in range(50):
        params = caused_by("record_rejected", {"position": "row 1", **params})
    assert len(sentence("record_rejected", params)) < 1_000
