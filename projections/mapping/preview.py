"""What a mapping makes of one message, for people who try it before it is applied. Nobody's profile hears of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from projections.mapping.mapper import Mapper
from projections.profiles.crdt import Cells
from projections.profiles.identity_node import fold, plan_of
from projections.profiles.profile_view import profile_of, shown_key


@dataclass(frozen=True, slots=True)
class PreviewFault:
    """What could not be used: by which part of the mapping, why, and how it looks."""

    part: str
    code: str
    example: str


@dataclass(frozen=True, slots=True)
class MappingPreview:
    """One message, mapped. `at` is in microseconds since 1970 UTC; `identities` (`kind:value`) have the best first.

    `attributes` are those that a profile has which knows no other message. A message without identities is nobody's.
    """

    at: int
    identities: tuple[str, ...]
    attributes: Mapping[str, Any]
    faults: tuple[PreviewFault, ...]


def preview(mapper: Mapper, message: dict[str, Any], at: int, batch: str, index: int) -> MappingPreview:
    """Return what becomes of the message with the id (`batch`, `index`) that came in at `at`."""
    mapped = mapper.map(message, at)
    faults = tuple(PreviewFault(part, code, example) for (part, code), (_, example, _) in mapper.take_faults().items())
    if mapped is None:
        return MappingPreview(at, (), {}, faults)
    key, links, at, values = mapped
    cells: Cells = {}
    fold(cells, (key, 0), plan_of(mapper.columns), values, at, batch, index)
    attributes = {each.name: each.value for each in profile_of(key, cells, {}).attributes}
    return MappingPreview(at, tuple(shown_key(each) for each in (key, *links)), attributes, faults)
