"""Preview the result of a mapping for one message, without updating any profile."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from projections.identities.value_rules import BLOCKED
from projections.mapping.converters import format_example
from projections.mapping.mapper import Mapper, identity_part
from projections.profiles.crdt import Registers
from projections.profiles.identity_node import fold, plan_of
from projections.profiles.profile_view import profile_of, shown_key


@dataclass(frozen=True, slots=True)
class PreviewFault:
    """An invalid value: the part of the mapping that reads it, the code of the fault, and an example."""

    part: str
    code: str
    example: str


@dataclass(frozen=True, slots=True)
class MappingPreview:
    """The result for one message. `at` is in microseconds since 1970 UTC; `identities` (`kind:value`) are by rank.

    `attributes` are those of a profile that consists of this message. Without identities there are none.
    """

    at: int
    identities: tuple[str, ...]
    attributes: Mapping[str, Any]
    faults: tuple[PreviewFault, ...]


def preview(mapper: Mapper, message: dict[str, Any], at: int, batch: str, index: int) -> MappingPreview:
    """Map the message with the id (`batch`, `index`) and the default event time `at`."""
    mapped = mapper.map(message, at)
    faults = tuple(PreviewFault(part, code, example) for (part, code), (_, example, _) in mapper.drain_faults().items())
    faults += tuple(
        PreviewFault(identity_part(kind), BLOCKED, format_example(value)) for kind, value in mapper.drain_blocked()
    )
    if mapped is None:
        return MappingPreview(at, (), {}, faults)
    key, links, at, values = mapped
    registers: Registers = {}
    fold(registers, (key, 0), plan_of(mapper.columns), values, at, batch, index)
    attributes = {attribute.name: attribute.value for attribute in profile_of(key, registers, {}).attributes}
    return MappingPreview(at, tuple(shown_key(linked) for linked in (key, *links)), attributes, faults)
