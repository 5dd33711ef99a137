"""Where an identity key lives. Lanes, profiles and the API have to agree, and nobody else writes to `updates.*`."""

from zlib import crc32


def partition_of_key(key: str, partitions: int) -> int:
    """Return the partition of a ranked identity key: its CRC-32, modulo, which costs a tenth of murmur2 in Python."""
    return crc32(key.encode()) % partitions
