"""What is said in slices is what was said, in its order, and each slice is about as large as it may be."""

from itertools import chain

import pytest

from projections.profiles.updates import Group, MappedMessages, slices_of

LINKS = [("b", "a", n, "batch", n) for n in range(7)]


def said(*sizes: int) -> MappedMessages:
    rows = ([["key", n, 0, n, 0, 1] for n in range(size)] for size in sizes)
    return MappedMessages([Group(f"s{n}", ("count:n",), 0, ["batch"], each) for n, each in enumerate(rows)], LINKS)


@pytest.mark.parametrize("sizes", [(), (0,), (10,), (4, 4), (1, 1, 1, 1, 1), (3, 9, 0, 2)])
@pytest.mark.parametrize("rows", [1, 4, 100])
def test_nothing_is_lost_and_no_slice_is_much_larger(sizes: tuple[int, ...], rows: int) -> None:
    whole = said(*sizes)
    parts = list(slices_of(whole, rows))
    for number, group in enumerate(whole.groups):
        found = (each for part in parts for each in part.groups if each.stream == f"s{number}")
        assert list(chain.from_iterable(each.rows for each in found)) == group.rows
    assert list(chain.from_iterable(part.links for part in parts)) == LINKS
    assert all(0 < sum(len(each.rows) for each in part.groups) + len(part.links) < 3 * rows for part in parts)


def test_what_has_no_links_ends_with_its_last_rows() -> None:
    whole = MappedMessages(said(5).groups)
    assert [len(part.groups[0].rows) for part in slices_of(whole, 2)] == [2, 2, 1]
