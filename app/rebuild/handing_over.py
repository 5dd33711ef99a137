"""Hands what was built over to the owners of profiles, as snapshots, and notices when these are lost before they open.

Does not decide when: that is the role's.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from app.profiles.restoring import in_thread, removed
from app.profiles.snapshots import Snapshots
from app.profiles.store import PartitionStore
from app.store.plane import PlaneStore

LOOK_SECONDS: Final = 15.0  # between two looks at snapshots that nobody has opened yet


class HandingOver:
    """Snapshots for owners to begin with. `scratch` is a folder that doesn't exist, to try them in."""

    def __init__(self, snapshots: Snapshots, plane: PlaneStore, partitions: int, scratch: Path) -> None:
        self._snapshots = snapshots
        self._plane = plane
        self._partitions = frozenset(range(partitions))
        self._scratch = scratch
        self._looked_at = time.monotonic()
        self._lost: int | None = None

    async def hand_over(self, generation: int, stores: Sequence[PartitionStore]) -> None:
        """Let the owners open a generation, of which these are the stores by partition.

        Who answers already has more than that. What is there for others is of no use, if anything is.
        """
        for number in sorted(await self.unanswered(generation)):
            await self._snapshots.forget(number, generation)
            await self._snapshots.take(stores[number], number, generation)
        await self._plane.hand_over(generation)
        self._lost, self._looked_at = None, time.monotonic()

    async def unanswered(self, generation: int) -> frozenset[int]:
        """Return the partitions that nobody answers for yet."""
        return self._partitions - await self._plane.answered(generation)

    async def is_lost(self, generation: int) -> bool:
        """Tell whether it has to be handed over again, as an owner finds nothing that it can begin with."""
        if self._lost != generation and time.monotonic() - self._looked_at >= LOOK_SECONDS:
            for number in sorted(await self.unanswered(generation)):
                if not await self._can_be_opened(number, generation):
                    self._lost = generation
                    break
            self._looked_at = time.monotonic()
        return self._lost == generation

    async def _can_be_opened(self, number: int, generation: int) -> bool:
        await in_thread(removed, self._scratch)
        try:
            snapshot = await self._snapshots.newest_valid(number, generation)
            return snapshot is not None and await self._snapshots.restore(snapshot, self._scratch) is not None
        finally:
            await in_thread(removed, self._scratch)
