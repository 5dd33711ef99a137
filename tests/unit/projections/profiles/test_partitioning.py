"""Identity keys are placed by kind and value, so that other ranks move no key."""

from hypothesis import given
from hypothesis import strategies as st

from projections.mapping.mapping import MAX_RANK
from projections.profiles.partitioning import partition_of_key
from projections.profiles.profile_view import ranked_key, shown_key

RANKS = st.integers(0, MAX_RANK)


@given(value=st.text(min_size=1, max_size=50), one=RANKS, other=RANKS, partitions=st.integers(1, 64))
def test_other_ranks_change_neither_partition_nor_shown_key(value: str, one: int, other: int, partitions: int) -> None:
    key = f"email:{value}"
    before, after = ranked_key(key, {"email": one}), ranked_key(key, {"email": other})
    assert partition_of_key(before, partitions) == partition_of_key(after, partitions) < partitions
    assert shown_key(before) == shown_key(after) == key


def test_keys_are_spread_over_all_partitions() -> None:
    homes = [partition_of_key(f"00:email:{number}@example.com", 4) for number in range(4_000)]
    assert all(900 < homes.count(partition) < 1_100 for partition in range(4))
