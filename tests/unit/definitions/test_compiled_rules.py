"""Rules of the past are read when somebody needs them, and not all of them are held for ever."""

from app.definitions.compiled_rules import MOST_BOOKS, Books
from projections.definitions.rules import NO_RULES, Rules


async def test_the_rules_of_an_offset_are_read_once_and_let_go_of_when_many_others_were_needed() -> None:
    read: list[int] = []

    async def at(offset: int) -> Rules:
        read.append(offset)
        return NO_RULES

    books = Books(at)
    first = await books.at(7)
    assert first.rules_at == 7
    assert await books.at(7) is first
    assert read == [7]
    for offset in range(100, 100 + MOST_BOOKS):
        await books.at(offset)
    assert await books.at(100 + MOST_BOOKS - 1)
    assert len(read) == 1 + MOST_BOOKS
    assert await books.at(7) is not first
