"""Slices add up to the whole, in order, and have about the requested size."""

from itertools import chain

import pytest

from projections.profiles.updates import Group, MappedMessages, slices_of

LINKS = [("b", "a", n, "batch", n) for n in range(7)]


def mapped_of(*sizes: int) -> MappedMessages:
    rows = ([["key", n, 0, n, 0, 1] for n in range(size)] for size in sizes)
    return MappedMessages([Group(f"s{n}", ("count:n",), 0, ["batch"], row) for n, row in enumerate(rows)], LINKS)


@pytest.mark.parametrize("sizes", [(), (0,), (10,), (4, 4), (1, 1, 1, 1, 1), (3, 9, 0, 2)])
@pytest.mark.parametrize("rows", [1, 4, 100])
def test_slices_add_up_and_are_bounded(sizes: tuple[int, ...], rows: int) -> None:
    whole = mapped_of(*sizes)
    parts = list(slices_of(whole, rows))
    for number, group in enumerate(whole.groups):
        found = (group for part in parts for group in part.groups if group.stream == f"s{number}")
        assert list(chain.from_iterable(item.rows for item in found)) == group.rows
    assert list(chain.from_iterable(part.links for part in parts)) == LINKS
    assert all(0 < sum(len(group.rows) for group in part.groups) + len(part.links) < 3 * rows for part in parts)


def test_messages_without_links_end_with_their_last_rows() -> None:
    whole = MappedMessages(mapped_of(5).groups)
    assert [len(part.groups[0].rows) for part in slices_of(whole, 2)] == [2, 2, 1]
