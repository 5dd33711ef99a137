"""Which texts are valid IDs, names and texts of users."""

from collections.abc import Callable

import pytest

from schemas.names import (
    MAX_JOB_ID,
    MAX_NAME_CHARACTERS,
    is_job_id,
    is_safe_line,
    is_safe_text,
    is_stream_name,
    is_uuid,
)

UPLOAD_ID = "0d8f9a30-2b6c-4f3e-9f9d-5f1f7a1f2c11"


def test_an_upload_id_is_a_uuid_in_its_canonical_form() -> None:
    assert is_uuid(UPLOAD_ID)


@pytest.mark.parametrize("text", [UPLOAD_ID.upper(), UPLOAD_ID.replace("-", ""), "orders", ""])
def test_other_texts_are_no_upload_ids(text: str) -> None:
    assert not is_uuid(text)


@pytest.mark.parametrize(("is_name", "longest"), [(is_job_id, MAX_JOB_ID), (is_stream_name, MAX_NAME_CHARACTERS)])
def test_names_are_bounded_printable_texts(is_name: Callable[[str], bool], longest: int) -> None:
    assert all(is_name(name) for name in ("a", "Käse 7/b:c", "ä" * longest))
    assert not any(is_name(name) for name in ("", "ä" * (longest + 1), "a\n", "a\0"))


@pytest.mark.parametrize("text", ["\x1b[31mred\r", "evil\u202etxt.exe", "\u2028\ud800\ufeff\x9b", "a\0"])
def test_controls_and_marks_are_unsafe(text: str) -> None:
    assert not is_safe_line(text)
    assert not is_safe_text(text)


@pytest.mark.parametrize("text", ["", "Käse 7/b:c", "क्\u200dष", "👩\u200d🚀", r"a\n"])
def test_text_of_any_script_is_safe(text: str) -> None:
    assert is_safe_line(text)
    assert is_safe_text(text)


def test_only_a_text_may_have_line_breaks_and_tabs() -> None:
    assert is_safe_text("a\tb\nc")
    assert not is_safe_line("a\nc")
    assert not is_safe_line("a\tb")
