"""How two JSON values differ, as JSON pointers (RFC 6901). Lists are compared between what begins and ends alike."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from schemas.json_pointer import json_pointer


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `pointer` goes into the new value; into the old one for what was removed."""

    pointer: str
    kind: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None


def diff(before: Any, after: Any, pointer: str = "") -> Iterator[Change]:
    """Yield what changed from one value to another, in the order of the old one, what was added last."""
    match before, after:
        case dict(), dict():
            yield from _objects(before, after, pointer)
        case list(), list():
            yield from _lists(before, after, pointer)
        case _ if not _same(before, after):
            yield Change(pointer, "changed", before, after)
        case _:
            pass


def _objects(before: Mapping[str, Any], after: Mapping[str, Any], pointer: str) -> Iterator[Change]:
    for name, value in before.items():
        where = pointer + json_pointer(name)
        if name in after:
            yield from diff(value, after[name], where)
        else:
            yield Change(where, "removed", before=value)
    for name, value in after.items():
        if name not in before:
            yield Change(pointer + json_pointer(name), "added", after=value)


def _lists(before: Sequence[Any], after: Sequence[Any], pointer: str) -> Iterator[Change]:
    shorter = min(len(before), len(after))
    head = next((n for n in range(shorter) if not _same(before[n], after[n])), shorter)
    tail = next((n for n in range(shorter - head) if not _same(before[-1 - n], after[-1 - n])), shorter - head)
    both = shorter - tail
    for place in range(head, both):
        yield from diff(before[place], after[place], f"{pointer}/{place}")
    for place in range(both, len(before) - tail):
        yield Change(f"{pointer}/{place}", "removed", before=before[place])
    for place in range(both, len(after) - tail):
        yield Change(f"{pointer}/{place}", "added", after=after[place])


def _same(one: Any, other: Any) -> bool:
    """Whether they are the same JSON; for Python, `True` is 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
