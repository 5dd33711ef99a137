"""`given(...).when(...)`: commands make the rulebook, and what the last one leads to is compared."""

import json
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from projections.definitions.state import EMPTY, DefinitionsState, handle
from schemas.coded import Param
from schemas.definitions import (
    ApplyDefinition,
    CommandEnvelope,
    DefinitionCommand,
    DefinitionEvent,
    DefinitionRefused,
    DiscardDraft,
    DraftDefinition,
    EventEnvelope,
    ForgetPerson,
)

START = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
NOW = datetime(1970, 1, 1, tzinfo=UTC)  # stands for the time of the story
FLIGHTS = "mapping:flights"
ENVELOPE = {each.name for each in fields(EventEnvelope)}


@dataclass(frozen=True)
class Told:
    """The book as the commands so far have made it, and the events of the last of them."""

    book: DefinitionsState = EMPTY
    events: tuple[DefinitionEvent, ...] = ()
    sent: int = 0

    def when(self, *commands: DefinitionCommand) -> "Told":
        told = self
        for command in commands:
            stamped = replace(
                command,
                command_id=command.command_id or f"command-{told.sent}",
                issued_at=START + timedelta(minutes=told.sent) if command.issued_at == NOW else command.issued_at,
            )
            book, events = handle(told.book, stamped, told.sent)
            told = Told(book, events, told.sent + 1)
        return told

    @property
    def facts(self) -> list[tuple[str, dict[str, Any]]]:
        """What the last command led to, without envelopes."""
        return [
            (type(each).__name__, {f.name: getattr(each, f.name) for f in fields(each) if f.name not in ENVELOPE})
            for each in self.events
        ]

    def refused(self, code: str, /, **params: Param) -> DefinitionRefused:
        (event,) = self.events
        assert isinstance(event, DefinitionRefused)
        assert event.code == code
        assert event.params.items() >= params.items()
        return event


def nothing() -> Told:
    return Told()


def given(*commands: DefinitionCommand) -> Told:
    """Commands where the identity rules that all mappings here name are in force."""
    return nothing().when(draft("identity", identity()), apply("identity")).when(*commands)


def _a(kind: type[CommandEnvelope], definition_id: str, facts: dict[str, Any]) -> Any:
    envelope = {"command_id": "", "definition_id": definition_id, "issued_at": NOW, "issued_by": "user:ada"}
    return kind(**envelope | facts)


def draft(definition_id: str = FLIGHTS, body: Any = None, **facts: Any) -> DraftDefinition:
    text = body if isinstance(body, str) else json.dumps(mapping() if body is None else body)
    made: DraftDefinition = _a(DraftDefinition, definition_id, {"body": text, **facts})
    return made


def apply(definition_id: str = FLIGHTS, version: int = 1, **facts: Any) -> ApplyDefinition:
    made: ApplyDefinition = _a(ApplyDefinition, definition_id, {"version": version, **facts})
    return made


def discard(definition_id: str = FLIGHTS, **facts: Any) -> DiscardDraft:
    made: DiscardDraft = _a(DiscardDraft, definition_id, facts)
    return made


def forget(*key_hashes: str, at: datetime = START, definition_id: str = "forgotten", **facts: Any) -> ForgetPerson:
    made: ForgetPerson = _a(ForgetPerson, definition_id, {"key_hashes": key_hashes, "at": at, **facts})
    return made


def mapping(**attributes: str) -> dict[str, Any]:
    """A mapping with these attributes, each given as its merge."""
    return {
        "identities": [{"field": "tailnum", "kind": "tail"}],
        "attributes": [
            {"name": name, "field": name, "type": "integer", "merge": merge} for name, merge in attributes.items()
        ],
        "timestamp": None,
    }


def identity(**facts: Any) -> dict[str, Any]:
    return {"kinds": [{"kind": "tail", "rank": 0, "title": "Tail number"}], "max_identities": 1000} | facts
