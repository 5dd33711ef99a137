"""Record counts of one upload request."""

from dataclasses import dataclass, field
from typing import Final

from connectors.contract import Batch, Reject

MAX_SHOWN_REJECTS: Final = 10


@dataclass(slots=True)
class UploadCounts:
    """Accepted and rejected records, and the first rejects."""

    accepted: int = 0
    rejected: int = 0
    first: list[Reject] = field(default_factory=list)

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        self.accepted += batch.count
        self.rejected += len(batch.rejects) + batch.rejects_dropped
        self.first += batch.rejects[: MAX_SHOWN_REJECTS - len(self.first)]
