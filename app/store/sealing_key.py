"""The public key that secrets are sealed to, in the read store, where every API process finds it."""

from typing import Final

from sqlalchemy import select

from app.store.database import Database, upsert
from app.store.tables import sealing_key

ROW: Final = 1  # the table has one row


class SealingKeyStore:
    """The announced public key. It is not secret, but a process that replaces it can open what is sealed afterwards."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def announce(self, public_key: bytes) -> None:
        """Replace the public key."""
        insert = self._database.insert(sealing_key).values(row=ROW, public_key=public_key)
        async with self._database.writing() as connection:
            await connection.execute(upsert(insert, {"public_key": public_key}))

    async def announced(self) -> bytes | None:
        """Return the public key; None when there is none yet."""
        async with self._database.reading() as connection:
            key: bytes | None = (await connection.execute(select(sealing_key.c.public_key))).scalar_one_or_none()
        return key
