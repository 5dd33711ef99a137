"""URLs in configurations and texts are shown without their secrets, wherever they stand."""

import time
from typing import Any

import pytest

from connectors.redaction import MASK, Redactor, has_credentials, redact_credentials, redact_text, redact_value

CANARY = "canary-7f3a"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("people.csv", "people.csv"),
        ("https://host:80/x?", "https://host:80/x?"),
        (f"https://{CANARY}@host/x", "https://•••@host/x"),
        (f"https://user:{CANARY}@[::1]:80/x", "https://•••@[::1]:80/x"),
        (f"https://host/x?sv=1&sig={CANARY}", "https://host/x?•••"),
        (f"https://host/x#{CANARY}#{CANARY}", "https://host/x#•••"),
        (f" https://user:{CANARY}@host/x", " https://•••@host/x"),
        (f"https://user:a {CANARY}@host/x?a b{CANARY}", "https://•••@host/x?•••"),
        (f"get https://user:{CANARY}@host/x?key={CANARY} first", "get https://•••@host/x?•••"),
        (f"get https://host/x?a'{CANARY} \"{CANARY}", "get https://host/x?•••"),
        (f"https://host/x or https://{CANARY}@host", "https://•••"),
        (f"S3://key:{CANARY}@bucket/x", "S3://•••@bucket/x"),
        (f"1http:/user:{CANARY}@host", "1http:/•••@host"),
        (f"https://user:a/{CANARY}@host/x", "https://•••"),
        (f"https://user:12/{CANARY}@host/x", "https://•••"),
        (f"https://user/{CANARY}@host/x", "https://•••"),
        (f"get https://user:a/{CANARY} b{CANARY}@host/x?{CANARY} now", "get https://•••"),
    ],
)
def test_secret_parts_of_a_url_are_masked(value: str, shown: str) -> None:
    assert redact_value(value) == shown
    assert redact_value(shown) == shown, "a masked value is masked already"
    assert redact_credentials({"a": [{"b": value}], "c": 1}) == {"a": [{"b": shown}], "c": 1}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"get https://user:{CANARY}@host/x?key={CANARY} first", "get https://•••@host/x?••• first"),
        (f"`https://host/x?{CANARY}` or <https://{CANARY}@host>", "`https://host/x?•••` or <https://•••@host>"),
        ("no URL: a/b", "no URL: a/b"),
    ],
)
def test_urls_in_a_text_are_masked(text: str, shown: str) -> None:
    assert redact_text(text) == shown


def test_in_a_text_of_several_lines_an_invalid_url_is_masked_to_the_end_of_its_line() -> None:
    text = f"see http://[{{host}}]:{{port}} {CANARY}\n@decorated\nsee https://{CANARY}@host/\nhttps://host\n@x"
    assert redact_text(text) == "see http://•••\n@decorated\nsee https://•••@host/\nhttps://host\n@x"
    assert redact_value(f"https://user:a/b\n{CANARY}@host") == "https://•••"
    assert redact_value(f"https://user:a\n{CANARY}@host/") == "https://•••@host/"


@pytest.mark.parametrize("text", ["a" * 1_000_000, "http:/@" * 100_000, "a://" * 200_000, "https://h " * 100_000])
def test_the_time_to_redact_a_long_text_is_linear(text: str) -> None:
    started = time.process_time()
    redact_text(text)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://wiki.example.com/page?id=7#top", False),
        ("mail me@example.com: details", False),
        ("see https://example.com/?author=me&keyword=a&postcode=1", False),
        ("see https://user:pw@host/ for more", True),
        ("see https://host/x?X-Amz-Signature=1", True),
        ("see https://host/x?a=1&access_token=2", True),
        ("see https://host/x?apiKey=1", True),
    ],
)
def test_credentials_in_a_text_are_recognised(text: str, *, expected: bool) -> None:
    assert has_credentials(text) == expected


def test_secrets_of_a_configuration_are_masked_wherever_a_source_repeats_them() -> None:
    plain = {"source": f"https://username:{CANARY}%2Fx@host/x?sig=signed%2Bvalue&v=1", "key": "a-password", "n": [1]}
    shown = redact_credentials(plain) | {"key": MASK}
    redactor = Redactor(plain, shown)
    encoded = (f"bad {CANARY}%2Fx", f"bad {CANARY}/x", f"%41{CANARY}%2fx%41", "signed+value", "signed%2Bvalue")
    for text in (*encoded, "signed%20value", "%61-password", "v=1"):
        masked = redactor.text(text)
        assert (MASK in masked) == (text != "v=1")
        assert not any(secret in masked for secret in (CANARY, "signed", "password"))
    assert redactor.text("username.csv") == "username.csv", "a name beside a password is no secret"
    params: dict[str, Any] = {"reason": "a-password", "status": 403, "list": ("https://h/?x", "y"), "deep": {"a": Q}}
    assert redactor.value(params) == {
        "reason": MASK, "status": 403, "list": ("https://h/?•••", "y"), "deep": {"a": "•••!"},
    }  # fmt: skip


class Quoted:
    """A value of a connector that is no text."""

    def __str__(self) -> str:
        return "a-password!"


Q = Quoted()
