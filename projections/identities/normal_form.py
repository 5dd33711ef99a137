"""Normal forms of identity values: one spelling for each value, without guessing.

`exact` keeps a value as it is, `text` removes invisible characters, and `email` and `phone` also apply the rules of
their kind. A normal form is its own normal form. Surrounding white space is removed before, for every format.
"""

import re
from collections.abc import Callable
from typing import Final
from unicodedata import normalize

from projections.identities.phone_numbers import phone_form

EXACT: Final = "exact"
TEXT: Final = "text"
EMAIL: Final = "email"
PHONE: Final = "phone"
FORMATS: Final = (EXACT, TEXT, EMAIL, PHONE)

# The characters that Unicode calls default-ignorable, and control characters other than NUL and white space.
_INVISIBLE: Final = re.compile(
    "[\x01-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
_ATOM: Final = r"[^\s@<>()\[\],;:\\\".]+"
_ADDRESS: Final = re.compile(rf"{_ATOM}(?:\.+{_ATOM})*\.*@{_ATOM}(?:\.{_ATOM})*")


def text_form(text: str) -> str:
    """Return a text in Unicode's composed form (NFC), without invisible characters and surrounding white space."""
    if text.isascii() and text.isprintable():
        return text.strip()
    return normalize("NFC", _INVISIBLE.sub("", text)).strip()


def email_form(text: str) -> str | None:
    """Return an address in lower case; None if the text is not a single address.

    The part before the `@` is lowered, too: by RFC 5321 its case might matter, but no provider in use distinguishes
    addresses by it. Dots and `+tags` are kept: only some providers ignore them.
    """
    text = normalize("NFC", text_form(text).lower())
    return text if _ADDRESS.fullmatch(text) else None


def spellings(key: str) -> frozenset[str]:
    """Return an identity `kind:value` in each normal form that needs no further rules: as it is, as text, as address.

    A person forgotten by one of them stays forgotten when the kind gets another format.
    """
    kind, _, value = key.partition(":")
    address = email_form(value) if "@" in value else None
    return frozenset(f"{kind}:{form}" for form in (value, text_form(value), address) if form is not None)


def normal_form_of(form: str, region: str) -> Callable[[str], str | None]:
    """Return the function that brings a value into the normal form of a format; None for an invalid value."""
    match form:
        case "email":
            return email_form
        case "phone":
            return lambda text: phone_form(text_form(text), region).number
        case "text":
            return text_form
        case _:
            return str.strip


def fault_of(form: str, region: str, text: str) -> str:
    """Return the code of the fault of a text that has no normal form."""
    return "bad_email" if form == EMAIL else phone_form(text_form(text), region).fault
