"""The active rules, compiled: one mapper for each stream that has a mapping."""

from collections.abc import Iterable, Mapping
from typing import Final

import orjson

from projections.definitions.rules import Forgotten, Rules, key_hashes
from projections.mapping.evaluation import MappingSource
from projections.mapping.mapper import Mapper, make_mapper
from projections.mapping.mapping import NO_IDENTITY, IdentityRules, parse_identity, parse_mapping
from projections.profiles.profile_view import shown_key
from schemas.instants import micros

NEVER: Final = -(2**63)  # earlier than every time


class CompiledRules:
    """The rules as of offset `rules_offset` of `definitions.events`."""

    def __init__(self, rules: Rules, rules_offset: int) -> None:
        self.rules_offset = rules_offset
        self.rules = rules
        self.identity = identity_of(rules)
        self.scope = rules.scope
        self.generation = rules.generation
        self._mappers: Mapping[str, Mapper] = {
            stream: make_mapper(stream, parse_mapping(orjson.loads(mapping.body)), self.identity)
            for stream, mapping in rules.mappings.items()
        }

    def mapper(self, stream: str) -> Mapper | None:
        """Return the mapper of a stream; None when it has no active mapping."""
        return self._mappers.get(stream)

    def maps_like(self, rules: Rules) -> bool:
        """Whether other rules map the same. Forgotten persons are not compared: they are not part of a mapping."""
        return self.generation == rules.generation and self.rules.spec == rules.spec


def source_of(rules: Rules, stream: str) -> MappingSource | None:
    """Return the bodies of the rules of a stream; None if it has no active mapping."""
    mapping = rules.mappings.get(stream)
    if mapping is None:
        return None
    return MappingSource(stream, mapping.body, rules.identity.body if rules.identity else "")


def identity_of(rules: Rules) -> IdentityRules:
    """Return the active identity rules; before the first are applied, rules without any kind."""
    return parse_identity(orjson.loads(rules.identity.body)) if rules.identity else NO_IDENTITY


def is_forgotten(forgotten: Forgotten, keys: Iterable[str], at: int) -> bool:
    """Whether a message with these keys and that time (microseconds since 1970) is about a forgotten person."""
    return at <= forgotten_until(forgotten, keys)


def forgotten_until(forgotten: Forgotten, keys: Iterable[str]) -> int:
    """Return the time up to which a person with these keys is forgotten, in microseconds since 1970; else `NEVER`.

    A key of a kind that is exact now may have been forgotten in its normal form.
    """
    times = (forgotten.get(name) for key in keys for name in key_hashes(shown_key(key)))
    return max((micros(time) for time in times if time is not None), default=NEVER)
