"""All definitions and the rules they add up to: what control keeps of partition 0, as one value that moves as a whole.

Whether a definition can be applied depends on the others, so their states must never be of different moments.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from projections.definition import Definition, bytes_of, decide, evolve, initial
from projections.rules import Rules
from schemas.definitions import IDENTITY, MAPPING, DefinitionCommand, DefinitionEvent

MOST_BYTES: Final = 6 * 1024 * 1024  # of all bodies; with every quote escaped they still fit into one record
OVERHEAD_BYTES: Final = 2_048  # what a definition takes beside its bodies


@dataclass(frozen=True, slots=True)
class Rulebook:
    """Everything behind the command at `command_offset`. People to be forgotten don't stand in its rules."""

    command_offset: int = -1
    definitions: Mapping[str, Definition] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def rules(self) -> Rules:
        """What is in force, as far as it matters for deciding."""
        bodies = {name: each.applied for name, each in self.definitions.items() if each.applied}
        identity = bodies.pop(IDENTITY, None)
        return Rules(identity, {name.removeprefix(MAPPING): each for name, each in bodies.items()})


EMPTY: Final = Rulebook()


def answer(book: Rulebook, command: DefinitionCommand, offset: int) -> tuple[Rulebook, tuple[DefinitionEvent, ...]]:
    """Return the book behind a command, found at `offset`, and what it led to; nothing, when it was answered before."""
    if offset <= book.command_offset:
        return book, ()
    state = book.definitions.get(command.definition_id) or initial(command.definition_id)
    events = decide(state, command, offset, book.rules, room_for(book, command.definition_id))
    for event in events:
        state = evolve(state, event)
    definitions = book.definitions
    if isinstance(state, Definition) and events:
        definitions = MappingProxyType({**definitions, state.definition_id: state})
    return replace(book, command_offset=offset, definitions=definitions), events


def room_for(book: Rulebook, definition_id: str) -> int:
    """Return how many bytes the bodies of a definition may have beside all others."""
    others = [each for each in book.definitions.values() if each.definition_id != definition_id]
    return MOST_BYTES - sum(OVERHEAD_BYTES + bytes_of(each) for each in others)
