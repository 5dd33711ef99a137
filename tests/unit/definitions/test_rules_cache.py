"""Earlier rules are read on demand, and a bounded number of them is cached."""

from app.definitions.rules_cache import RulesCache


async def test_rules_are_read_once_and_evicted_after_others() -> None:
    offsets: list[int] = []

    async def read(offset: int) -> str:
        offsets.append(offset)
        return f"rules at {offset}"

    cache = RulesCache(read, max_cached=2)
    for offset in (7, 7, 8, 7):
        assert await cache.at(offset) == f"rules at {offset}"
    assert offsets == [7, 8]
    await cache.at(9)
    await cache.at(8)
    await cache.at(7)
    assert offsets == [7, 8, 9, 7]
