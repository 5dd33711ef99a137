"""A monotonic clock that a test moves."""

from dataclasses import dataclass


@dataclass
class ManualMonotonic:
    """`now` is in seconds."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now
