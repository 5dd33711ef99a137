"""The rulebook to bytes and back, for control's table: the offset it is behind, then JSON."""

import struct
from types import MappingProxyType
from typing import Final

from pydantic import TypeAdapter

from projections.definition import Definition
from projections.rulebook import Rulebook

_OFFSET: Final = struct.Struct(">q")
_DEFINITIONS: Final[TypeAdapter[tuple[Definition, ...]]] = TypeAdapter(tuple[Definition, ...])


def encode_rulebook(book: Rulebook) -> bytes:
    """Return a rulebook as bytes."""
    return _OFFSET.pack(book.command_offset) + _DEFINITIONS.dump_json(tuple(book.definitions.values()))


def decode_rulebook(data: bytes) -> Rulebook:
    """Return the rulebook in what `encode_rulebook` made, by this or an older version (new fields have defaults)."""
    found = _DEFINITIONS.validate_json(data[_OFFSET.size :])
    return Rulebook(command_offset_in(data), MappingProxyType({each.definition_id: each for each in found}))


def command_offset_in(data: bytes) -> int:
    """Return the offset that a rulebook is behind, without reading the rest."""
    offset: int = _OFFSET.unpack_from(data)[0]
    return offset
