"""`given(...).when(...)`: commands build up definitions, and the events of the last command are compared."""

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
    ExtendForgetting,
    ForgetPerson,
    ReportForgotten,
)

START = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
NOW = datetime(1970, 1, 1, tzinfo=UTC)  # replaced by the time of the scenario
FLIGHTS = "mapping:flights"
FORGETTING = "forgetting:1"
ENVELOPE = {field.name for field in fields(EventEnvelope)}


@dataclass(frozen=True)
class Scenario:
    """The state as the commands so far have made it, and the events of the last of them."""

    state: DefinitionsState = EMPTY
    events: tuple[DefinitionEvent, ...] = ()
    sent: int = 0

    def when(self, *commands: DefinitionCommand) -> "Scenario":
        scenario = self
        for command in commands:
            stamped = replace(
                command,
                command_id=command.command_id or f"command-{scenario.sent}",
                issued_at=START + timedelta(minutes=scenario.sent) if command.issued_at == NOW else command.issued_at,
            )
            state, events = handle(scenario.state, stamped, scenario.sent)
            scenario = Scenario(state, events, scenario.sent + 1)
        return scenario

    @property
    def outcome(self) -> list[tuple[str, dict[str, Any]]]:
        """The events of the last command, without envelopes."""
        return [
            (type(event).__name__, {f.name: getattr(event, f.name) for f in fields(event) if f.name not in ENVELOPE})
            for event in self.events
        ]

    def refused(self, code: str, /, **params: Param) -> DefinitionRefused:
        (event,) = self.events
        assert isinstance(event, DefinitionRefused)
        assert event.code == code
        assert event.params.items() >= params.items()
        return event


def no_definitions() -> Scenario:
    return Scenario()


def given(*commands: DefinitionCommand) -> Scenario:
    """Commands after identity rules with all kinds of these mappings were applied."""
    return no_definitions().when(draft("identity", identity()), apply("identity")).when(*commands)


def _a(kind: type[CommandEnvelope], definition_id: str, outcome: dict[str, Any]) -> Any:
    envelope = {"command_id": "", "definition_id": definition_id, "issued_at": NOW, "issued_by": "user:ada"}
    return kind(**envelope | outcome)


def draft(definition_id: str = FLIGHTS, body: Any = None, **outcome: Any) -> DraftDefinition:
    text = body if isinstance(body, str) else json.dumps(mapping() if body is None else body)
    made: DraftDefinition = _a(DraftDefinition, definition_id, {"body": text, **outcome})
    return made


def apply(definition_id: str = FLIGHTS, version: int = 1, **outcome: Any) -> ApplyDefinition:
    made: ApplyDefinition = _a(ApplyDefinition, definition_id, {"version": version, **outcome})
    return made


def discard(definition_id: str = FLIGHTS, **outcome: Any) -> DiscardDraft:
    made: DiscardDraft = _a(DiscardDraft, definition_id, outcome)
    return made


def forget(*key_hashes: str, at: datetime = START, definition_id: str = FORGETTING, **outcome: Any) -> ForgetPerson:
    made: ForgetPerson = _a(ForgetPerson, definition_id, {"key_hashes": key_hashes, "at": at, **outcome})
    return made


def extend(*key_hashes: str, profiles: int = 1, complete: bool = True, **outcome: Any) -> ExtendForgetting:
    content = {"key_hashes": key_hashes, "profiles": profiles, "complete": complete, **outcome}
    made: ExtendForgetting = _a(ExtendForgetting, FORGETTING, content)
    return made


def report(**outcome: Any) -> ReportForgotten:
    made: ReportForgotten = _a(ReportForgotten, outcome.pop("definition_id", FORGETTING), outcome)
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


def identity(**outcome: Any) -> dict[str, Any]:
    return {"kinds": [{"kind": "tail", "rank": 0, "title": "Tail number"}], "max_identities": 1000} | outcome
