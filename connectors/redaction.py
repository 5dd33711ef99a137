"""Redact configurations for display: remove the credentials from URLs."""

import re
from collections.abc import Mapping
from typing import Any, Final

from yarl import URL

URL_START: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
HIDDEN_QUERY: Final = "?…"


def redact_credentials(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configuration with every URL redacted and everything else unchanged."""
    return {name: _redact(value) for name, value in configuration.items()}


def redact_url(source: str) -> str:
    """Return a URL without user, password, fragment and query."""
    try:
        url = URL(source)
        plain = url.with_user(None).with_fragment(None).with_query(None)
    except ValueError:
        return "(invalid URL)"
    return f"{plain}{HIDDEN_QUERY}" if url.query_string else str(plain)


def _redact(value: Any) -> Any:
    match value:
        case str():
            return redact_url(value) if URL_START.match(value) else value
        case dict():
            return redact_credentials(value)
        case list():
            return [_redact(item) for item in value]
        case _:
            return value
