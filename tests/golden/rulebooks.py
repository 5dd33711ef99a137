"""A realistic sequence of commands about definitions, always the same. What it led to is stored and never changed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from projections.definitions.rebuild_spec import AppliedBody, RebuildSpec, Scope, recipe_text
from projections.definitions.state import EMPTY, handle
from schemas.definitions import (
    ApplyDefinition,
    CommandEnvelope,
    DefinitionCommand,
    DefinitionEvent,
    DiscardDraft,
    DiscardRebuild,
    DraftDefinition,
    ForgetPerson,
    PromoteRebuild,
    ReportRebuilt,
    StartRebuild,
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
        self.book, events = handle(self.book, command, number)
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


def profiles_are_rebuilt() -> Teller:
    """Rebuilds that are promoted, discarded, outdated and refused; the way back; rules that go on from there."""
    told = Teller()
    old, new = AppliedBody(1, mapping("latest")), AppliedBody(2, mapping("first"))
    kinds = AppliedBody(1, identity("tail"))
    began = 1_767_225_600_000_000
    undone = Scope(since=1_357_016_400_000_000, began=began, left_out={"job-0": began, "job-1": began})
    told.send(DraftDefinition, "identity", body=kinds.body)
    told.send(ApplyDefinition, "identity", version=1)
    told.send(DraftDefinition, FLIGHTS, body=old.body)
    told.send(ApplyDefinition, FLIGHTS, version=1)
    told.send(DraftDefinition, FLIGHTS, body=new.body)
    told.send(StartRebuild, "rebuild:1", recipe=recipe_text(RebuildSpec(kinds, {"flights": new}, undone)))
    told.send(PromoteRebuild, "rebuild:1")
    told.send(StartRebuild, "rebuild:2", recipe=recipe_text(RebuildSpec(kinds)))
    told.send(ReportRebuilt, "rebuild:1", report='{"changed": 3}')
    told.send(ReportRebuilt, "rebuild:1", report="x" * (512 * 1024 + 1))
    told.send(PromoteRebuild, "rebuild:1", expected_version=0)
    told.send(PromoteRebuild, "rebuild:1", expected_version=1)
    told.send(DiscardRebuild, "rebuild:1")
    told.send(StartRebuild, "rebuild:1", recipe=recipe_text(RebuildSpec(kinds, {"flights": old})))
    told.send(StartRebuild, "rebuild:3", recipe=recipe_text(RebuildSpec(kinds, {"flights": old})))
    told.send(ReportRebuilt, "rebuild:3", report="{}")
    told.send(DraftDefinition, FLIGHTS, body=mapping("min"))
    told.send(ApplyDefinition, FLIGHTS, version=3)
    told.send(PromoteRebuild, "rebuild:3")
    told.send(DiscardRebuild, "rebuild:3")
    told.send(StartRebuild, "rebuild:4", recipe=recipe_text(RebuildSpec(kinds, {"flights": AppliedBody(4, old.body)})))
    told.send(StartRebuild, "rebuild:5", recipe=recipe_text(RebuildSpec(None, {"flights": old})))
    told.send(StartRebuild, "rebuild:6", recipe=recipe_text(RebuildSpec(kinds, {"crew": old})))
    told.send(StartRebuild, "rebuild:7", recipe='{"left_out": [7], "mappings": [], "surprise": 1}')
    told.send(StartRebuild, "mapping:flights", recipe="{}")
    told.send(DiscardRebuild, "rebuild:8")
    told.send(StartRebuild, "rebuild:9", recipe=recipe_text(RebuildSpec(kinds, {"flights": old})))
    told.send(ReportRebuilt, "rebuild:9", report="{}")
    told.send(PromoteRebuild, "rebuild:9")
    told.send(DraftDefinition, FLIGHTS, body=mapping("max"))
    told.send(ApplyDefinition, FLIGHTS, version=4)
    return told


RULEBOOKS = (rules_are_agreed_on, profiles_are_rebuilt)
