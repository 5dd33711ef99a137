"""The rulebook to bytes and back, for control's table: the offset it is behind, then JSON."""

import struct
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import orjson
from pydantic import TypeAdapter

from projections.definitions.definition import Definition
from projections.definitions.rebuild import ProfileRebuild
from projections.definitions.state import Basis, DefinitionsState, Promotion

_OFFSET: Final = struct.Struct(">q")


@dataclass(frozen=True, slots=True)
class _StoredState:
    """A rulebook as it is written. New fields have defaults, so that what an older version wrote can be read."""

    definitions: tuple[Definition, ...] = ()
    rebuilds: tuple[ProfileRebuild, ...] = ()
    promotion: Promotion = field(default_factory=Promotion)
    basis: Basis = (0, ())


_KEPT: Final = TypeAdapter(_StoredState)


def encode_rulebook(book: DefinitionsState) -> bytes:
    """Return a rulebook as bytes."""
    kept = _StoredState(tuple(book.definitions.values()), tuple(book.rebuilds.values()), book.promotion, book.basis)
    return _OFFSET.pack(book.command_offset) + _KEPT.dump_json(kept)


def decode_rulebook(data: bytes) -> DefinitionsState:
    """Return the rulebook in what `encode_rulebook` made."""
    written = data[_OFFSET.size :]
    if written.startswith(b"["):  # before there were rebuilds, it was definitions alone
        written = b'{"definitions":' + written + b"}"
    kept = _KEPT.validate_python(_brought_up(orjson.loads(written)))
    return DefinitionsState(
        command_offset_in(data),
        MappingProxyType({each.definition_id: each for each in kept.definitions}),
        MappingProxyType({each.definition_id: each for each in kept.rebuilds}),
        kept.promotion,
        kept.basis,
    )


def _brought_up(written: dict[str, Any]) -> dict[str, Any]:
    """Give each job that is left out a moment of its own, as what an older version wrote has one for all."""
    scope = written.get("promotion", {}).get("scope", {})
    if isinstance(scope.get("left_out"), list):
        scope["left_out"] = dict.fromkeys(scope["left_out"], scope["began"])
    return written


def command_offset_in(data: bytes) -> int:
    """Return the offset that a rulebook is behind, without reading the rest."""
    offset: int = _OFFSET.unpack_from(data)[0]
    return offset
