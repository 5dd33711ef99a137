"""A canary: a secret that is searched for in everything that is stored, answered, logged or shown."""

from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

CANARY = "kAnar1+Voge/l~7 f3a9"  # its forms differ: raw, URL-encoded, in Base64 and hex
QUOTED = quote(CANARY, safe="")


def forms() -> dict[str, bytes]:
    """Return the forms in which a leak could stand: of the canary and of its URL-encoded form."""
    named = {"raw": CANARY.encode()}
    for text in {CANARY, QUOTED, quote_plus(CANARY), quote(CANARY)}:
        named[f"text {text}"] = text.encode()
        named[f"hex {text}"] = text.encode().hex().encode()
        for shift in range(3):  # Base64 depends on the position in its groups of three bytes
            data = b"\0" * shift + text.encode()
            for encode in (b64encode, urlsafe_b64encode):
                named[f"{encode.__name__} {shift} {text}"] = encode(data)[shift + 1 : -4]
    return named


def found_in(data: bytes) -> list[str]:
    """Return the forms of the canary that stand in the data, whatever the case of hex digits and percent codes."""
    lowered = data.lower()
    return [
        name
        for name, form in forms().items()
        if form in data or (name.startswith(("hex", "text")) and form.lower() in lowered)
    ]
