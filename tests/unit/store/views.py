"""All rows of the live views, for comparison."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from app.store.read_store import ReadStore
from app.store.tables import tables_of
from app.store.views import generations

HOUR = timedelta(hours=1)


async def live_rows(store: ReadStore) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of the live generation and its offsets."""
    async with store.database.reading() as connection:
        number = await generations.live_number(connection)
        tables = tables_of(number).metadata.sorted_tables
        rows = {
            table.name.removesuffix(f"_g{number}"): sorted(map(tuple, await connection.execute(select(table))))
            for table in tables
        }
        return {**rows, "offsets": sorted((await generations.offsets_of(connection, number)).items())}
