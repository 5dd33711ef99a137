"""What travels on `updates.*`, from the lanes to the profiles and between profiles. Internal: no contract for others.

The payloads are JSON, as `projections.profiles.update_codec` writes and reads them.
"""

from dataclasses import dataclass
from typing import Final

NAMESPACE: Final = "entrepot.updates"
EVERY_GENERATION: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedBatch:
    """What the raw messages from `first_offset` up to `next_offset` of a partition say to one partition of identities.

    The same raw records always become the same batches, so `next_offset` tells what was taken before.
    """

    topic: str  # of the raw messages
    partition: int
    first_offset: int
    next_offset: int
    rules_at: int  # the offset in definitions.events behind the rules that they were mapped by
    payload: bytes
    generation: int = 0  # of the profiles that it is for: how many rebuilds were promoted up to those rules


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeBatch:
    """What the identities of one partition tell those of another: states to join and links to follow.

    To take one twice, or late, changes nothing.
    """

    payload: bytes
    generation: int = 0  # of the profiles that it is for; -1: whichever reads it


Update = MappedBatch | NodeBatch
