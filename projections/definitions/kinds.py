"""The kinds of definitions that have versions and a body, with the rules for their ids and the parsers of their bodies.

To add a kind, add a member to `DefinitionKind` and an entry to `VERSIONED_KINDS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from projections.mapping.mapping import IdentityRules, MappingRules, parse_identity, parse_mapping
from schemas.definitions import DefinitionKind, kind_of
from schemas.names import is_stream_name

ParsedRules = MappingRules | IdentityRules


@dataclass(frozen=True, slots=True)
class VersionedKind:
    """A kind of definition. `is_name` checks the part of its ids after `kind:`; None if the id is only the kind."""

    parse: Callable[[Any], ParsedRules]
    is_name: Callable[[str], bool] | None = None


VERSIONED_KINDS: Final[Mapping[DefinitionKind, VersionedKind]] = MappingProxyType(
    {
        DefinitionKind.MAPPING: VersionedKind(parse_mapping, is_stream_name),
        DefinitionKind.IDENTITY: VersionedKind(parse_identity),
    }
)


def versioned_kind(definition_id: str) -> VersionedKind | None:
    """Return the kind of a definition with versions; None when the id is not valid for any such kind."""
    kind = kind_of(definition_id)
    versioned = VERSIONED_KINDS.get(kind) if kind else None
    if versioned is None:
        return None
    _, colon, name = definition_id.partition(":")
    valid = versioned.is_name(name) if versioned.is_name else not colon
    return versioned if valid else None
