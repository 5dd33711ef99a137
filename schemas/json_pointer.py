"""JSON pointers (RFC 6901)."""


def json_pointer(*steps: str | int) -> str:
    """Return the pointer to what lies at the end of the steps; without steps, to the whole value."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)
