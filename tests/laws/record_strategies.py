"""Strategies for any record, as it may be decoded: every value that its types can hold, hostile ones included."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", " ", "0", "\x00", "é" * 300, "x" * 6_000, "[" * 5_000, "9" * 5_000]),
)
MOMENTS = st.one_of(
    st.datetimes(timezones=st.just(UTC)),
    st.sampled_from([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]),
)
PRIMITIVES: dict[type, st.SearchStrategy[Any]] = {
    str: TEXTS,
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(),
    bool: st.booleans(),
    bytes: st.binary(max_size=40),
    datetime: MOMENTS,
}


@cache
def anything(hint: Any) -> st.SearchStrategy[Any]:
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))  # the decoder rejects other values
    if get_origin(hint) is tuple:
        return st.lists(anything(get_args(hint)[0]), max_size=3).map(tuple)
    if get_origin(hint) is Mapping:
        return st.dictionaries(TEXTS, anything(get_args(hint)[1]), max_size=3)
    if get_origin(hint) is UnionType:
        options = [anything(option) for option in get_args(hint) if option is not NoneType]
        return st.one_of([st.none(), *options] if NoneType in get_args(hint) else options)
    if is_dataclass(hint):
        return st.builds(hint, **field_strategies(hint))
    return PRIMITIVES[hint]


def field_strategies(record: Any) -> dict[str, st.SearchStrategy[Any]]:
    """Return the strategies of the fields of a dataclass, which callers may override."""
    hints = get_type_hints(record)
    return {field.name: anything(hints[field.name]) for field in fields(record)}
