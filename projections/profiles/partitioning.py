"""The partition of an identity key. Lanes, profiles and the API must agree on it."""

from typing import Final
from zlib import crc32

RANK_CHARACTERS: Final = 3  # the rank of a ranked key and its colon, before `kind:value`


def partition_of_key(key: str, partitions: int) -> int:
    """Return the partition of a ranked identity key: the CRC-32 of its `kind:value`, modulo.

    The rank is excluded, so that a rebuild with other ranks moves no key. CRC-32 costs a tenth of murmur2 in Python.
    """
    return crc32(key[RANK_CHARACTERS:].encode()) % partitions
