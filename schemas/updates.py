"""The records of `updates.*`, from the lanes to the profiles and between profiles. Internal, not a public contract.

The payloads are JSON, encoded by `projections.profiles.update_codec`.
"""

from dataclasses import dataclass
from typing import Final

NAMESPACE: Final = "entrepot.updates"


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedBatch:
    """The mapped messages from `first_offset` to `next_offset` of a raw partition for one partition of identities.

    The same raw records always give the same batches, so `next_offset` identifies duplicates.
    """

    topic: str  # of the raw messages
    partition: int
    first_offset: int
    next_offset: int
    rules_offset: int  # the offset in definitions.events of the rules that mapped them
    payload: bytes
    generation: int = 0  # of the target profiles: the number of rebuilds promoted up to these rules
    forgettings_offset: int = 0  # the offset in definitions.events up to which forgotten persons are excluded


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeBatch:
    """Messages from the identities of one partition to those of another: states to merge and links to follow.

    Idempotent and independent of order.
    """

    payload: bytes
    generation: int = 0  # of the target profiles


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFence:
    """The end of mapped batches that exclude forgotten persons up to an earlier offset of definitions.events only.

    All lanes had confirmed this offset before. A later batch with an earlier one is from a replaced owner of its raw
    partition. It is ignored: the present owner maps the same messages.
    """

    forgettings_offset: int


Update = MappedBatch | NodeBatch | UpdateFence
