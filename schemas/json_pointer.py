"""Steps of JSON pointers (RFC 6901)."""


def escaped(name: str) -> str:
    """Return a name as a step of a JSON pointer (RFC 6901, section 3)."""
    return name.replace("~", "~0").replace("/", "~1")
