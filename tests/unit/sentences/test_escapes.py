"""Characters that act on a terminal, forge a log record or reorder a text are escaped; others are not."""

import json

import pytest

from app.sentences.escapes import escaped, escaped_json, escaped_lines
from schemas.names import is_safe_text


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


@pytest.mark.parametrize("text", ["", "Käse 7/b:c", "क्\u200dष", "👩\u200d🚀", r"a\n"])
def test_text_of_any_script_is_not_escaped(text: str) -> None:
    assert escaped(text) == escaped_lines(text) == text


def test_an_escaped_json_document_means_the_same() -> None:
    value = {"name": "evil\u202etxt\x7f", "note": ["a\nb", "ä"]}
    document = escaped_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(document) == value
    assert is_safe_text(document)
    assert r"evil\u202etxt\u007f" in document
