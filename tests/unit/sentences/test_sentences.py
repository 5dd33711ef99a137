"""Every code that our sources raise has a sentence, and each place gives the parameters that the sentence needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sentences import codes
from app.sentences.codes import SENTENCES
from app.sentences.sentence import fields_of, letter_sentence, sentence, sentence_of
from connectors.catalog import catalog
from schemas.coded import CodedError, Param, Params, caused_by
from tests.coded_sites import ROOT, coded_sites
from tests.laws.record_strategies import anything

FOLDERS = ("app", "connectors", "projections", "schemas")
PATHS = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
SITES = list(coded_sites(PATHS))


def test_codes_are_found_in_the_sources() -> None:
    assert len(SITES) > 150


@pytest.mark.parametrize(("place", "code", "given_names"), SITES, ids=[f"{place}-{code}" for place, code, _ in SITES])
def test_each_code_has_a_sentence_and_gets_its_parameters(place: str, code: str, given_names: set[str] | None) -> None:
    tables = [*(connector.sentences for connector in catalog().values()), SENTENCES]
    templates = [table[code] for table in tables if code in table]
    assert templates, f"{place}: {code} has no sentence in app/sentences/codes.py"
    for template in templates if given_names is not None else ():
        needed, _ = fields_of(template)
        assert needed <= (given_names or set()), f"{place}: {code} lacks {sorted(needed - (given_names or set()))}"


def test_no_sentence_is_of_a_code_that_is_never_raised() -> None:
    text = "".join(path.read_text("utf-8") for path in PATHS)
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
    assert "`header=present`" in sentence("duplicate_header", params, "collect")
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


def test_only_parameters_that_hold_commands_are_shown_as_actions() -> None:
    params: Params = {"command": "PauseJob", "status": "Failed", "allowed": ("KillJob", "ResumeJob")}
    shown = "pause is not allowed while the job is Failed; allowed: kill, resume"
    assert sentence("not_allowed", params) == shown
    assert sentence("unknown_column", {"name": "KillJob"}).endswith("name: KillJob")
    assert "KillJob" in sentence("unknown_column", {"names": ("KillJob", "id")})
