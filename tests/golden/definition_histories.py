"""Fixed, realistic sequences of definition commands. Their events are stored as golden files and never change."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from projections.definitions.rebuild_spec import RebuildSpec, Scope, VersionedBody, spec_text
from projections.definitions.state import EMPTY, handle
from schemas.definitions import (
    ApplyDefinition,
    CommandEnvelope,
    CreateToken,
    DefinitionCommand,
    DefinitionEvent,
    DiscardDraft,
    DiscardRebuild,
    DraftDefinition,
    ExtendForgetting,
    ForgetPerson,
    PromoteRebuild,
    ReportForgotten,
    ReportRebuilt,
    RevokeToken,
    StartRebuild,
)

START = datetime(2026, 3, 27, 22, 15, 0, 500_000, tzinfo=UTC)
FLIGHTS, CREW = "mapping:flights", "mapping:crew"


class RecordedDefinitions:
    """Definitions with their recorded commands and events. Time advances by a second per command."""

    def __init__(self) -> None:
        self.state = EMPTY
        self.commands: list[DefinitionCommand] = []
        self.events: list[DefinitionEvent] = []

    def send(self, kind: type[CommandEnvelope], definition_id: str, /, **fields: Any) -> None:
        number = len(self.commands)
        envelope = {"command_id": str(UUID(int=number + 1)), "issued_by": "user:ada", "rules": 1}
        at = START + timedelta(seconds=number)
        command: Any = kind(definition_id=definition_id, **{"issued_at": at, **envelope, **fields})
        self.commands.append(command)
        self.state, events = handle(self.state, command, number)
        self.events += events


def mapping(merge: str, kind: str = "tail", **more: Any) -> str:
    attribute = {"name": "origin", "field": "origin", "type": "string", "merge": merge}
    return json.dumps({"identities": [{"field": "tailnum", "kind": kind}], "attributes": [attribute], **more})


def identity(*kinds: str) -> str:
    return json.dumps({"kinds": [{"kind": kind, "rank": rank} for rank, kind in enumerate(kinds)]})


def drafted_applied_and_refused() -> RecordedDefinitions:
    """Identity rules, two conflicting streams, a discarded draft, and various refusals."""
    history = RecordedDefinitions()
    history.send(DraftDefinition, FLIGHTS, body=mapping("latest"))
    history.send(ApplyDefinition, FLIGHTS, version=1)
    history.send(DraftDefinition, "identity", body=identity("tail", "email"), expected_version=0)
    history.send(ApplyDefinition, "identity", version=1)
    history.send(ApplyDefinition, FLIGHTS, version=1)
    history.send(DraftDefinition, CREW, body=mapping("first", "email"))
    history.send(ApplyDefinition, CREW, version=1)
    history.send(DiscardDraft, CREW)
    history.send(DiscardDraft, CREW)
    history.send(DraftDefinition, CREW, body=mapping("latest", "email"), expected_version=0)
    history.send(DraftDefinition, CREW, body=mapping("latest", "email", timestamp={"field": "at"}), expected_version=1)
    history.send(ApplyDefinition, CREW, version=1)
    history.send(ApplyDefinition, CREW, version=2, issued_at=START)  # a clock that steps back
    history.send(DraftDefinition, "identity", body=identity("tail"))
    history.send(ApplyDefinition, "identity", version=2)
    history.send(DraftDefinition, FLIGHTS, body='{"identities": 7, "surprise": 1}')
    history.send(DraftDefinition, "audience:all", body="{}")
    return history


def forgotten_and_refused() -> RecordedDefinitions:
    """A person with linked identities, one without a profile, repeated and outdated reports, and various refusals."""
    history = RecordedDefinitions()
    ann, bob = "forgetting:ann", "forgetting:bob"
    history.send(ForgetPerson, ann, key_hashes=("0" * 64,), at=START)
    history.send(ForgetPerson, bob, key_hashes=("1" * 64,), at=START)
    history.send(ForgetPerson, ann, key_hashes=("0" * 64,), at=START)
    history.send(ExtendForgetting, ann, key_hashes=("a" * 64, "b" * 64), profiles=1, complete=True, expected_version=0)
    history.send(ReportForgotten, ann, expected_version=0)
    history.send(ExtendForgetting, ann, key_hashes=(), profiles=0, complete=False, expected_version=1)
    history.send(ReportForgotten, ann, expected_version=2)
    history.send(ReportForgotten, ann, expected_version=2)
    history.send(ReportForgotten, bob, expected_version=0)
    history.send(ForgetPerson, "forgetting:eve", key_hashes=("email:eve@example.com",), at=START)
    history.send(ForgetPerson, "forgetting:eve", key_hashes=("2" * 64,), at=START + timedelta(days=1))
    history.send(ReportForgotten, "forgetting:eve")
    history.send(ForgetPerson, "forgotten", key_hashes=("2" * 64,), at=START)
    return history


def rebuilt_promoted_and_discarded() -> RecordedDefinitions:
    """Rebuilds that are promoted, discarded, outdated and refused, a rollback, and later changes of the rules."""
    history = RecordedDefinitions()
    old, new = VersionedBody(1, mapping("latest")), VersionedBody(2, mapping("first"))
    kinds = VersionedBody(1, identity("tail"))
    started_at = 1_767_225_600_000_000
    scope = Scope(
        since=1_357_016_400_000_000, until_set_at=started_at, excluded={"job-0": started_at, "job-1": started_at}
    )
    history.send(DraftDefinition, "identity", body=kinds.body)
    history.send(ApplyDefinition, "identity", version=1)
    history.send(DraftDefinition, FLIGHTS, body=old.body)
    history.send(ApplyDefinition, FLIGHTS, version=1)
    history.send(DraftDefinition, FLIGHTS, body=new.body)
    history.send(StartRebuild, "rebuild:1", spec=spec_text(RebuildSpec(kinds, {"flights": new}, scope)))
    history.send(PromoteRebuild, "rebuild:1")
    history.send(StartRebuild, "rebuild:2", spec=spec_text(RebuildSpec(kinds)))
    history.send(ReportRebuilt, "rebuild:1", report='{"changed": 3}')
    history.send(ReportRebuilt, "rebuild:1", report="x" * (512 * 1024 + 1))
    history.send(PromoteRebuild, "rebuild:1", expected_version=0)
    history.send(PromoteRebuild, "rebuild:1", expected_version=1)
    history.send(DiscardRebuild, "rebuild:1")
    history.send(StartRebuild, "rebuild:1", spec=spec_text(RebuildSpec(kinds, {"flights": old})))
    history.send(StartRebuild, "rebuild:3", spec=spec_text(RebuildSpec(kinds, {"flights": old})))
    history.send(ReportRebuilt, "rebuild:3", report="{}")
    history.send(DraftDefinition, FLIGHTS, body=mapping("min"))
    history.send(ApplyDefinition, FLIGHTS, version=3)
    history.send(PromoteRebuild, "rebuild:3")
    history.send(DiscardRebuild, "rebuild:3")
    history.send(StartRebuild, "rebuild:4", spec=spec_text(RebuildSpec(kinds, {"flights": VersionedBody(4, old.body)})))
    history.send(StartRebuild, "rebuild:5", spec=spec_text(RebuildSpec(None, {"flights": old})))
    history.send(StartRebuild, "rebuild:6", spec=spec_text(RebuildSpec(kinds, {"crew": old})))
    history.send(StartRebuild, "rebuild:7", spec='{"excluded": [7], "mappings": [], "surprise": 1}')
    history.send(StartRebuild, "mapping:flights", spec="{}")
    history.send(DiscardRebuild, "rebuild:8")
    history.send(StartRebuild, "rebuild:9", spec=spec_text(RebuildSpec(kinds, {"flights": old})))
    history.send(ReportRebuilt, "rebuild:9", report="{}")
    history.send(PromoteRebuild, "rebuild:9")
    history.send(DraftDefinition, FLIGHTS, body=mapping("max"))
    history.send(ApplyDefinition, FLIGHTS, version=4)
    return history


def tokens_created_and_revoked() -> RecordedDefinitions:
    """Tokens that are created, refused and revoked, the last lasting admin among them."""
    history = RecordedDefinitions()
    one, two, guest = (f"token:{UUID(int=number)}" for number in range(3))
    history.send(CreateToken, one, name="admin", role="admin", sha256="a" * 64)
    history.send(CreateToken, guest, name="guest", role="viewer", sha256="b" * 64, expires_at=START + timedelta(days=1))
    history.send(CreateToken, guest, name="guest", role="viewer", sha256="c" * 64)
    history.send(CreateToken, two, name="other", role="editor", sha256="a" * 64)
    history.send(CreateToken, two, name="no name", role="editor", sha256="c" * 64)
    history.send(CreateToken, two, name="late", role="editor", sha256="c" * 64, expires_at=START)
    history.send(CreateToken, "token:1", name="other", role="editor", sha256="c" * 64)
    history.send(RevokeToken, one)
    history.send(RevokeToken, guest, expected_version=2)
    history.send(RevokeToken, guest)
    history.send(RevokeToken, guest)
    history.send(CreateToken, two, name="other", role="admin", sha256="c" * 64)
    history.send(RevokeToken, one)
    history.send(RevokeToken, two, allow_last_admin=True)
    return history


DEFINITION_HISTORIES = (
    drafted_applied_and_refused,
    forgotten_and_refused,
    rebuilt_promoted_and_discarded,
    tokens_created_and_revoked,
)
