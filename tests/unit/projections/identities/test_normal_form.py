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
        ("\u2800", ""),  # the blank of Braille
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
        ("mailto:Ada@example.com", "ada@example.com"),
        ("mailto:ada@example.com?subject=hi", None),
        ("'ada@example.com'", None),
        ("ada@example.com'", None),
        ("ada@example.com!", None),
        ("ada@exam_ple-1.com", "ada@exam_ple-1.com"),
        ('"ada lovelace"@example.com', None),
        ("ada@[192.0.2.1]", None),
        ("ada\uff20example.com", None),
        ("", None),
    ],
)
def test_an_address_is_in_lower_case(text: str, address: str | None) -> None:
    assert email_form(text) == address


@pytest.mark.parametrize(
    ("domain", "normal"),
    [
        ("xn--bcher-kva.example", "b\u00fccher.example"),
        ("XN--BCHER-KVA.example", "b\u00fccher.example"),
        ("b\u00fccher.example", "b\u00fccher.example"),
        ("BU\u0308CHER.EXAMPLE", "b\u00fccher.example"),
        ("mail.xn--strae-oqa.example", "mail.stra\u00dfe.example"),
        ("\uff45xample\uff0ecom", "example.com"),  # full width
        ("example\u3002com", "example.com"),
        ("\u0939\u093f\u0928\u094d\u0926\u0940.example", "\u0939\u093f\u0928\u094d\u0926\u0940.example"),
        ("xn--a", "xn--a"),  # not punycode
        ("xn--\u00fc", "xn--\u00fc"),
        ("xn--99999999999999", "xn--99999999999999"),
        ("xn--example-.com", "xn--example-.com"),  # nothing in it is encoded
        ("xn--y-yq0i.com", "xn--y-yq0i.com"),  # full width, encoded: not a valid domain
        ("example\uff20com", None),
    ],
)
def test_a_domain_has_one_form(domain: str, normal: str | None) -> None:
    assert email_form(f"ada@{domain}") == (normal and f"ada@{normal}")


@pytest.mark.parametrize(
    ("form", "normal"), [("exact", "A\u200b@b"), ("text", "A@b"), ("email", "a@b"), ("phone", None)]
)
def test_each_format_has_a_normal_form(form: str, normal: str | None) -> None:
    assert form in FORMATS
    assert normal_form_of(form, "AT")("A\u200b@b ") == normal
