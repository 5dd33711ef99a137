"""Record counts of one upload request."""

from dataclasses import dataclass, field
from typing import Final

from connectors.contract import Batch, Cursor, Reject

MAX_SHOWN_REJECTS: Final = 10


@dataclass(slots=True)
class UploadCounts:
    """Accepted and rejected records, the first rejects, and the cursor after the last record."""

    accepted: int = 0
    rejected: int = 0
    first: list[Reject] = field(default_factory=list)
    cursor: Cursor = field(default_factory=dict)

    @property
    def columns(self) -> list[str] | None:
        """The columns of a CSV file; None without columns."""
        return list(self.cursor.get("fields", ())) or None

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        self.accepted += batch.count
        self.rejected += len(batch.rejects) + batch.rejects_dropped
        self.cursor = batch.cursor
        self.first += batch.rejects[: MAX_SHOWN_REJECTS - len(self.first)]
