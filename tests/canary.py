"""A canary: a secret that is searched for in everything that is stored, answered, logged or shown."""

from base64 import b64encode, urlsafe_b64encode
from functools import cache
from urllib.parse import quote, quote_plus

CANARY = "kAnar1+Voge/l~7 f3a9"  # its forms differ: raw, URL-encoded, in Base64 and hex
QUOTED = quote(CANARY, safe="")


@cache
def forms() -> dict[bytes, str]:
    """Return the forms in which a leak could stand, in lower case, with their names."""
    named: dict[bytes, str] = {}
    for text in (CANARY, QUOTED, quote_plus(CANARY), quote(CANARY), quote(CANARY, safe="+/ ")):
        named[text.encode()] = text
        named[text.encode().hex().encode()] = f"hex of {text}"
        for shift in range(3):  # Base64 depends on the position in its groups of three bytes
            for encode in (b64encode, urlsafe_b64encode):
                named[encode(bytes(shift) + text.encode())[shift + 1 : -4]] = f"Base64 of {text}"
    return {form.lower(): name for form, name in named.items()}


def found_in(data: bytes) -> list[str]:
    """Return the forms of the canary that stand in the data, whatever the case of their letters."""
    lowered = data.lower()
    return [name for form, name in forms().items() if form in lowered]
