"""Earlier rules are read on demand, and a bounded number of them is cached."""

from app.definitions.compiled_rules import MAX_CACHED_RULES, CompiledRulesCache
from projections.definitions.rules import NO_RULES, Rules


async def test_rules_are_read_once_and_evicted_after_many_others() -> None:
    read: list[int] = []

    async def at(offset: int) -> Rules:
        read.append(offset)
        return NO_RULES

    cache = CompiledRulesCache(at)
    first = await cache.at(7)
    assert first.rules_offset == 7
    assert await cache.at(7) is first
    assert read == [7]
    for offset in range(100, 100 + MAX_CACHED_RULES):
        await cache.at(offset)
    assert await cache.at(100 + MAX_CACHED_RULES - 1)
    assert len(read) == 1 + MAX_CACHED_RULES
    assert await cache.at(7) is not first
