"""A realistic sequence of commands about definitions, always the same. What it led to is stored and never changed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from projections.rulebook import EMPTY, answer
from schemas.definitions import (
    ApplyDefinition,
    CommandEnvelope,
    DefinitionCommand,
    DefinitionEvent,
    DiscardDraft,
    DraftDefinition,
    ForgetPerson,
)

START = datetime(2026, 3, 27, 22, 15, 0, 500_000, tzinfo=UTC)
FLIGHTS, CREW = "mapping:flights", "mapping:crew"


class Teller:
    """Issues commands a second apart and keeps what came of them."""

    def __init__(self) -> None:
        self.book = EMPTY
        self.commands: list[DefinitionCommand] = []
        self.events: list[DefinitionEvent] = []

    def send(self, kind: type[CommandEnvelope], definition_id: str, /, **facts: Any) -> None:
        number = len(self.commands)
        envelope = {"command_id": str(UUID(int=number + 1)), "issued_by": "user:ada", "rules": 1}
        at = START + timedelta(seconds=number)
        command: Any = kind(definition_id=definition_id, **{"issued_at": at, **envelope, **facts})
        self.commands.append(command)
        self.book, events = answer(self.book, command, number)
        self.events += events


def mapping(merge: str, kind: str = "tail", **more: Any) -> str:
    attribute = {"name": "origin", "field": "origin", "type": "string", "merge": merge}
    return json.dumps({"identities": [{"field": "tailnum", "kind": kind}], "attributes": [attribute], **more})


def identity(*kinds: str) -> str:
    return json.dumps({"kinds": [{"kind": each, "rank": rank} for rank, each in enumerate(kinds)]})


def rules_are_agreed_on() -> Teller:
    """Identity rules, two streams that first disagree, a discarded draft, refusals of all sorts, a person forgotten."""
    told = Teller()
    told.send(DraftDefinition, FLIGHTS, body=mapping("latest"))
    told.send(ApplyDefinition, FLIGHTS, version=1)
    told.send(DraftDefinition, "identity", body=identity("tail", "email"), expected_version=0)
    told.send(ApplyDefinition, "identity", version=1)
    told.send(ApplyDefinition, FLIGHTS, version=1)
    told.send(DraftDefinition, CREW, body=mapping("first", "email"))
    told.send(ApplyDefinition, CREW, version=1)
    told.send(DiscardDraft, CREW)
    told.send(DiscardDraft, CREW)
    told.send(DraftDefinition, CREW, body=mapping("latest", "email"), expected_version=0)
    told.send(DraftDefinition, CREW, body=mapping("latest", "email", timestamp={"field": "at"}), expected_version=1)
    told.send(ApplyDefinition, CREW, version=1)
    told.send(ApplyDefinition, CREW, version=2, issued_at=START)  # a clock that steps back
    told.send(DraftDefinition, "identity", body=identity("tail"))
    told.send(ApplyDefinition, "identity", version=2)
    told.send(DraftDefinition, FLIGHTS, body='{"identities": 7, "surprise": 1}')
    told.send(DraftDefinition, "audience:all", body="{}")
    told.send(ForgetPerson, "forgotten", key_hashes=("0" * 64, "f" * 64), at=START)
    told.send(ForgetPerson, "forgotten", key_hashes=("email:ann@example.com",), at=START)
    return told


RULEBOOKS = (rules_are_agreed_on,)
