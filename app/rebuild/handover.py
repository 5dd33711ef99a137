"""Hands a rebuilt generation over to the owners of profiles as snapshots, and detects snapshots lost before that."""

import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from app.process import Monotonic
from app.profile_store.object_store import SnapshotStoreUnavailable
from app.profile_store.partition_store import PartitionStore
from app.profile_store.restore import remove
from app.profile_store.snapshots import Snapshots
from app.store.data_plane import PlaneStore
from connectors.kit.threads import in_thread

CHECK_INTERVAL: Final = 15.0  # seconds between two checks of snapshots that no owner has opened yet

_log = logging.getLogger(__name__)


class SnapshotHandover:
    """Snapshots for the owners to start from. `scratch` is a directory that doesn't exist, for trial restores."""

    def __init__(
        self,
        snapshots: Snapshots,
        plane: PlaneStore,
        partitions: int,
        scratch: Path,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._snapshots = snapshots
        self._plane = plane
        self._partitions = frozenset(range(partitions))
        self._scratch = scratch
        self._monotonic = monotonic
        self._checked_at = monotonic()
        self._restorable: dict[int, str] = {}  # by partition: the snapshot that passed a trial restore

    async def hand_over(self, generation: int, stores: Sequence[PartitionStore], numbers: Iterable[int]) -> None:
        """Replace the snapshots of some partitions of a generation, and have the owners open them."""
        for number in numbers:
            await self._snapshots.remove_all(number, generation)
            await self._snapshots.take(stores[number], number, generation)
        await self._plane.open_next(generation)
        self._checked_at = self._monotonic()

    async def pending(self, generation: int) -> Sequence[int]:
        """Return the partitions without an owner yet."""
        return sorted(self._partitions - await self._plane.owned(generation))

    async def lost(self, generation: int) -> Sequence[int]:
        """Return the pending partitions that no owner can open; checked every `CHECK_INTERVAL`, otherwise none."""
        if self._monotonic() - self._checked_at < CHECK_INTERVAL:
            return []
        try:
            return [
                number for number in await self.pending(generation) if not await self._can_be_opened(number, generation)
            ]
        except SnapshotStoreUnavailable as error:
            _log.warning("the snapshots of generation %d can't be checked: %s", generation, error)
            return []
        finally:
            self._checked_at = self._monotonic()

    async def _can_be_opened(self, number: int, generation: int) -> bool:
        newest = await self._snapshots.newest_valid(number, generation)
        if newest is not None and self._restorable.get(number) != newest.name:
            await in_thread(remove, self._scratch)
            try:
                newest = await self._snapshots.restore(newest, self._scratch)
            finally:
                await in_thread(remove, self._scratch)
        if newest is not None:
            self._restorable[number] = newest.name
        return newest is not None
