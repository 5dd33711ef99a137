"""The values of timestamp attributes: stored as microseconds since 1970 UTC, shown as times."""

from collections.abc import Iterable
from typing import Any

import orjson

from schemas.instants import moment


def timestamp_attributes(mappings: Iterable[str]) -> frozenset[str]:
    """Return the names of the timestamp attributes that the bodies of mappings define, in JSON."""
    attributes = (attribute for body in mappings for attribute in orjson.loads(body)["attributes"])
    return frozenset(attribute["name"] for attribute in attributes if attribute.get("type") == "timestamp")


def timestamp_value(value: Any) -> Any:
    """Return the value of a timestamp attribute, or each value of its `union`."""
    return [_timestamp(item) for item in value] if isinstance(value, list) else _timestamp(value)


def _timestamp(value: Any) -> Any:
    """Return a stored timestamp; a value from before the attribute became a timestamp is returned as is."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    try:
        return moment(value)
    except OverflowError:
        return value
