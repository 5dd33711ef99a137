"""Compare two JSON values. Differences are JSON pointers (RFC 6901); lists are aligned by common prefix and suffix."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from schemas.json_values import json_pointer


@dataclass(frozen=True, slots=True)
class JsonChange:
    """One difference. `pointer` refers to the new value, or to the old one for a removed value."""

    pointer: str
    kind: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None


def diff(before: Any, after: Any) -> list[JsonChange]:
    """Return the changes from one value to another in the order of the old one, additions last."""
    return list(_changes(before, after, ""))


def _changes(before: Any, after: Any, pointer: str) -> Iterator[JsonChange]:
    match before, after:
        case dict(), dict():
            yield from _objects(before, after, pointer)
        case list(), list():
            yield from _lists(before, after, pointer)
        case _ if not _same(before, after):
            yield JsonChange(pointer, "changed", before, after)
        case _:
            pass


def _objects(before: Mapping[str, Any], after: Mapping[str, Any], pointer: str) -> Iterator[JsonChange]:
    for name, value in before.items():
        member_pointer = pointer + json_pointer(name)
        if name in after:
            yield from _changes(value, after[name], member_pointer)
        else:
            yield JsonChange(member_pointer, "removed", before=value)
    for name, value in after.items():
        if name not in before:
            yield JsonChange(pointer + json_pointer(name), "added", after=value)


def _lists(before: Sequence[Any], after: Sequence[Any], pointer: str) -> Iterator[JsonChange]:
    shorter = min(len(before), len(after))
    head = next((offset for offset in range(shorter) if not _same(before[offset], after[offset])), shorter)
    tail = next(
        (offset for offset in range(shorter - head) if not _same(before[-1 - offset], after[-1 - offset])),
        shorter - head,
    )
    common_end = shorter - tail
    for index in range(head, common_end):
        yield from _changes(before[index], after[index], f"{pointer}/{index}")
    for index in range(common_end, len(before) - tail):
        yield JsonChange(f"{pointer}/{index}", "removed", before=before[index])
    for index in range(common_end, len(after) - tail):
        yield JsonChange(f"{pointer}/{index}", "added", after=after[index])


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON. In Python, `True == 1`."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
