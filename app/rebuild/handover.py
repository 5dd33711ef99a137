"""Hands what was built over to the owners of profiles, as snapshots, and notices when these are lost before they open.

Does not decide when: that is the role's.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from app.profile_store.object_store import SnapshotStoreUnavailable
from app.profile_store.partition_store import PartitionStore
from app.profile_store.restore import in_thread, remove
from app.profile_store.snapshots import Snapshots
from app.store.data_plane import PlaneStore

CHECK_INTERVAL_SECONDS: Final = 15.0  # between two looks at snapshots that nobody has opened yet

_log = logging.getLogger(__name__)


class SnapshotHandover:
    """Snapshots for owners to begin with. `scratch` is a folder that doesn't exist, to try them in."""

    def __init__(self, snapshots: Snapshots, plane: PlaneStore, partitions: int, scratch: Path) -> None:
        self._snapshots = snapshots
        self._plane = plane
        self._partitions = frozenset(range(partitions))
        self._scratch = scratch
        self._looked_at = time.monotonic()
        self._good: dict[int, str] = {}  # the snapshots that were restored on trial, by partition

    async def hand_over(self, generation: int, stores: Sequence[PartitionStore], numbers: Iterable[int]) -> None:
        """Let the owners open some partitions of a generation; what is there for them is of no use, if anything is."""
        for number in numbers:
            await self._snapshots.remove_all(number, generation)
            await self._snapshots.take(stores[number], number, generation)
        await self._plane.open_next(generation)
        self._looked_at = time.monotonic()

    async def unanswered(self, generation: int) -> Sequence[int]:
        """Return the partitions that nobody answers for yet."""
        return sorted(self._partitions - await self._plane.owned(generation))

    async def lost(self, generation: int) -> Sequence[int]:
        """Return, now and then, the partitions that have to be handed over again: no owner could open them."""
        if time.monotonic() - self._looked_at < CHECK_INTERVAL_SECONDS:
            return []
        try:
            return [
                each for each in await self.unanswered(generation) if not await self._can_be_opened(each, generation)
            ]
        except SnapshotStoreUnavailable as error:
            _log.warning("nobody knows whether generation %d can be opened: %s", generation, error)
            return []
        finally:
            self._looked_at = time.monotonic()

    async def _can_be_opened(self, number: int, generation: int) -> bool:
        newest = await self._snapshots.newest_valid(number, generation)
        if newest is not None and self._good.get(number) != newest.name:
            await in_thread(remove, self._scratch)
            try:
                newest = await self._snapshots.restore(newest, self._scratch)
            finally:
                await in_thread(remove, self._scratch)
        if newest is not None:
            self._good[number] = newest.name
        return newest is not None
