"""Normal forms of identity values."""

import pytest

from projections.identities.normal_form import FORMATS, email_form, normal_form_of, text_form


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Ada", "Ada"),
        ("  Ada 7\t", "Ada 7"),
        ("\ufeffc1", "c1"),  # a byte order mark
        ("c\u200b1\u200d", "c1"),  # zero-width space and joiner
        ("\u200e\u202ac1\u202c\u200f", "c1"),  # marks of direction, as spreadsheets copy them
        ("c\u00ad1", "c1"),  # a soft hyphen
        ("\u200b \u200b", ""),
        ("Zoe\u0308", "Zo\u00eb"),  # composed
        ("\u212b", "\u00c5"),
        ("\u00a0c 1\u3000", "c 1"),
        ("\uff41\u00b2", "\uff41\u00b2"),  # not a compatibility form: that would guess
        ("a\nb", "a\nb"),
        ("a\x07b", "ab"),
        ("a\0", "a\0"),
        ("\U0001f9d1\u200d\U0001f4bb", "\U0001f9d1\U0001f4bb"),
    ],
)
def test_a_text_loses_what_is_invisible(text: str, normal: str) -> None:
    assert text_form(text) == normal


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Ada.L+News@Example.COM", "ada.l+news@example.com"),
        (" ada@example.com\u200b", "ada@example.com"),
        ("ada@localhost", "ada@localhost"),
        ("J\u00d6RG@b\u00fccher.example", "j\u00f6rg@b\u00fccher.example"),
        ("\u0130@x.example", "i\u0307@x.example"),
        ("a..b@x.example", "a..b@x.example"),  # invalid by RFC 5322, and in use
        ("ada", None),
        ("ada@", None),
        ("@example.com", None),
        ("a@b@c.example", None),
        ("ada@example.com, bob@example.com", None),
        ("Ada <ada@example.com>", None),
        ("ada@example..com", None),
        ("ada@.example", None),
        ("ada lovelace@example.com", None),
        ("mailto:ada@example.com", None),
        ("", None),
    ],
)
def test_an_address_is_in_lower_case(text: str, address: str | None) -> None:
    assert email_form(text) == address


@pytest.mark.parametrize(
    ("form", "normal"), [("exact", "A\u200b@b"), ("text", "A@b"), ("email", "a@b"), ("phone", None)]
)
def test_each_format_has_a_normal_form(form: str, normal: str | None) -> None:
    assert form in FORMATS
    assert normal_form_of(form, "AT")("A\u200b@b ") == normal
