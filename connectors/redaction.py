"""What anyone may see of a configuration: addresses in it lose their credentials."""

import re
from collections.abc import Mapping
from typing import Any, Final

from yarl import URL

URL_START: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
HIDDEN_QUERY: Final = "?…"


def without_credentials(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration with every URL as anyone may see it, and all else as it is."""
    return {name: _shown(value) for name, value in configuration.items()}


def shown_url(source: str) -> str:
    """A URL as anyone may see it: without user, password, fragment, and the values of its query."""
    try:
        url = URL(source)
        plain = url.with_user(None).with_fragment(None).with_query(None)
    except ValueError:
        return "(a URL that can't be read)"
    return f"{plain}{HIDDEN_QUERY}" if url.query_string else str(plain)


def _shown(value: Any) -> Any:
    match value:
        case str():
            return shown_url(value) if URL_START.match(value) else value
        case dict():
            return without_credentials(value)
        case list():
            return [_shown(each) for each in value]
        case _:
            return value
