"""The rules in force, compiled: one mapper for each stream that has a mapping."""

from collections.abc import Iterable, Mapping
from typing import Final

import orjson

from projections.definitions.rules import Forgotten, Rules, key_hash
from projections.mapping.mapper import Mapper, make_mapper
from projections.mapping.mapping import NO_IDENTITY, IdentityRules, parse_identity, parse_mapping
from projections.profiles.profile_view import shown_key
from schemas.instants import micros


class CompiledRules:
    """The rules as they stand at offset `rules_at` of definitions.events."""

    def __init__(self, rules: Rules, rules_at: int) -> None:
        self.rules_at = rules_at
        self.rules = rules
        self.identity = identity_of(rules)
        self.scope = rules.scope
        self.generation = rules.generation
        self._mappers: Mapping[str, Mapper] = {
            stream: make_mapper(stream, parse_mapping(orjson.loads(mapping.body)), self.identity)
            for stream, mapping in rules.mappings.items()
        }

    def mapper(self, stream: str) -> Mapper | None:
        """Return the mapper of a stream; None when it has no mapping yet."""
        return self._mappers.get(stream)

    def maps_like(self, rules: Rules) -> bool:
        """Tell whether other rules map alike. Forgetting is no matter of mapping: it holds at once, and for ever."""
        return self.generation == rules.generation and self.rules.recipe == rules.recipe


def identity_of(rules: Rules) -> IdentityRules:
    """Return the identity rules in force; those without any kind before the first are applied."""
    return parse_identity(orjson.loads(rules.identity.body)) if rules.identity else NO_IDENTITY


def is_forgotten(forgotten: Forgotten, keys: Iterable[str], at: int) -> bool:
    """Tell whether a message of that time (microseconds since 1970) names a person who was forgotten since."""
    return at <= forgotten_to(forgotten, keys)


def forgotten_to(forgotten: Forgotten, keys: Iterable[str]) -> int:
    """Return up to when (microseconds since 1970) a person with these keys is forgotten; `NEVER` for most."""
    moments = (forgotten.get(key_hash(shown_key(key))) for key in keys)
    return max((micros(moment) for moment in moments if moment is not None), default=NEVER)


NEVER: Final = -(2**63)  # before all moments
