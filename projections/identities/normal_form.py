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

# The characters that Unicode calls default-ignorable, control characters other than NUL and white space, and the blank
# pattern of Braille.
_INVISIBLE: Final = re.compile(
    "[\x01-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
_ATOM: Final = r"[^\s@<>()\[\],;:\\\".]+"
_LABEL: Final = r"[^\s\x00-,/:-@\[-^`{-\x7f.]+"  # of a domain: letters, digits, `-` and `_`
_ADDRESS: Final = re.compile(rf"{_ATOM}(?:\.+{_ATOM})*\.*@{_LABEL}(?:\.{_LABEL})*")
_MAILTO: Final = "mailto:"
_PUNYCODE: Final = "xn--"  # RFC 3492 and RFC 5890
_IDEOGRAPHIC_STOP: Final = "\u3002"


def text_form(text: str) -> str:
    """Return a text in Unicode's composed form (NFC), without invisible characters and surrounding white space."""
    if text.isascii() and text.isprintable():
        return text.strip()
    return normalize("NFC", _INVISIBLE.sub("", text)).strip()


def email_form(text: str) -> str | None:
    """Return an address in lower case, its domain in Unicode; None if the text is not a single address.

    The part before the `@` is lowered, too: by RFC 5321 its case might matter, but no provider in use distinguishes
    addresses by it. Dots and `+tags` are kept: only some providers ignore them. `mailto:` (RFC 6068) is removed.
    """
    address = normalize("NFC", text_form(text).lower()).removeprefix(_MAILTO)
    if not address.isascii() or _PUNYCODE in address:
        name, at, domain = address.partition("@")
        address = name + at + ".".join(map(_label_form, _compatible(domain).split(".")))
    return address if _ADDRESS.fullmatch(address) else None


def _label_form(label: str) -> str:
    """Return the label of a domain in Unicode."""
    if not label.startswith(_PUNYCODE):
        return label
    try:
        decoded = label.removeprefix(_PUNYCODE).encode("ascii").decode("punycode")
    except UnicodeError:
        return label
    is_canonical = _PUNYCODE + decoded.encode("punycode").decode() == label and not decoded.isascii()
    return decoded if is_canonical and text_form(decoded) == decoded == _compatible(decoded) else label


def _compatible(text: str) -> str:
    """Return a text as in domain names (UTS 46): in lower case, without full width and ligatures."""
    return normalize("NFKC", normalize("NFKC", text).lower()).replace(_IDEOGRAPHIC_STOP, ".")


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
