"""Which texts are valid IDs and names, and how unsafe characters are escaped."""

import json
from collections.abc import Callable

import pytest

from schemas.names import (
    MAX_JOB_ID,
    MAX_NAME_CHARACTERS,
    escaped,
    escaped_json,
    escaped_lines,
    is_job_id,
    is_safe_line,
    is_safe_text,
    is_stream_name,
    is_uuid,
)

UPLOAD_ID = "0d8f9a30-2b6c-4f3e-9f9d-5f1f7a1f2c11"


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        (UPLOAD_ID, True),
        (UPLOAD_ID.upper(), False),
        (UPLOAD_ID.replace("-", ""), False),
        ("orders", False),
        ("", False),
    ],
)
def test_an_upload_id_is_a_uuid_in_its_canonical_form(text: str, is_valid: bool) -> None:  # noqa: FBT001  # the case
    assert is_uuid(text) is is_valid


@pytest.mark.parametrize(("is_name", "longest"), [(is_job_id, MAX_JOB_ID), (is_stream_name, MAX_NAME_CHARACTERS)])
def test_names_are_bounded_printable_texts(is_name: Callable[[str], bool], longest: int) -> None:
    assert all(is_name(name) for name in ("a", "Käse 7/b:c", "ä" * longest))
    assert not any(is_name(name) for name in ("", "ä" * (longest + 1), "a\n", "a\0"))


@pytest.mark.parametrize(
    ("text", "line", "lines"),
    [
        ("a\tb\nc", r"a\tb\nc", "a\tb\nc"),
        ("\x1b[31mred\r", r"\x1b[31mred\r", r"\x1b[31mred\r"),
        ("evil\u202etxt.exe", r"evil\u202etxt.exe", r"evil\u202etxt.exe"),
        ("\u2028\ud800\ufeff\x9b", r"\u2028\ud800\ufeff\x9b", r"\u2028\ud800\ufeff\x9b"),
    ],
)
def test_unsafe_characters_are_escaped(text: str, line: str, lines: str) -> None:
    assert (escaped(text), escaped_lines(text)) == (line, lines)
    assert not is_safe_line(text)
    assert is_safe_text(text) is (text == lines)


@pytest.mark.parametrize("text", ["", "Käse 7/b:c", "क्\u200dष", "👩\u200d🚀", r"a\n"])
def test_text_of_any_script_is_safe(text: str) -> None:
    assert escaped(text) == escaped_lines(text) == text
    assert is_safe_line(text)
    assert is_safe_text(text)


def test_an_escaped_json_document_means_the_same() -> None:
    value = {"name": "evil\u202etxt\x7f", "note": ["a\nb", "ä"]}
    document = escaped_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(document) == value
    assert is_safe_text(document)
    assert r"evil\u202etxt\u007f" in document
