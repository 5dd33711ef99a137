"""What became of the records of one request. Counts only."""

from dataclasses import dataclass, field
from typing import Final

from connectors.contract import Batch, Reject

SHOWN: Final = 10


@dataclass(slots=True)
class UploadCounts:
    """Counts, and the first few rejects for whoever sent them."""

    accepted: int = 0
    rejected: int = 0
    first: list[Reject] = field(default_factory=list)

    def count(self, batch: Batch) -> None:
        """Add a batch."""
        self.accepted += batch.count
        self.rejected += len(batch.rejects) + batch.rejects_dropped
        self.first += batch.rejects[: SHOWN - len(self.first)]
