"""Rules of the past are read when somebody needs them, and not all of them are held for ever."""

from app.definitions.compiled_rules import MAX_CACHED_RULES, CompiledRulesCache
from projections.definitions.rules import NO_RULES, Rules


async def test_the_rules_of_an_offset_are_read_once_and_let_go_of_when_many_others_were_needed() -> None:
    read: list[int] = []

    async def at(offset: int) -> Rules:
        read.append(offset)
        return NO_RULES

    books = CompiledRulesCache(at)
    first = await books.at(7)
    assert first.rules_at == 7
    assert await books.at(7) is first
    assert read == [7]
    for offset in range(100, 100 + MAX_CACHED_RULES):
        await books.at(offset)
    assert await books.at(100 + MAX_CACHED_RULES - 1)
    assert len(read) == 1 + MAX_CACHED_RULES
    assert await books.at(7) is not first
