"""Access tokens: what is refused, and which tokens are valid after every history."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from projections.definitions.state import DefinitionsState, evolve
from projections.definitions.tokens import MAX_TOKENS
from schemas.definitions import (
    CreateToken,
    DefinitionCommand,
    DefinitionEvent,
    DefinitionRefused,
    RevokeToken,
    TokenCreated,
    TokenRevoked,
)
from tests.golden.definition_histories import tokens_created_and_revoked
from tests.unit.projections.definitions.scenario import NOW, START, Scenario


def token(number: int) -> str:
    return f"token:{UUID(int=number)}"


def create(number: int, role: str = "admin", **more: Any) -> DefinitionCommand:
    fields = {"name": "ada", "sha256": f"{number:064x}", "role": role, **more}
    return CreateToken(command_id="", definition_id=token(number), issued_at=NOW, issued_by="user:ada", **fields)


def revoke(number: int, **more: Any) -> DefinitionCommand:
    return RevokeToken(command_id="", definition_id=token(number), issued_at=NOW, issued_by="user:ada", **more)


def valid(state: DefinitionsState) -> set[str]:
    tokens = state.tokens
    assert {token.definition_id for token in tokens.by_hash.values()} == set(tokens.by_id)
    return set(tokens.by_id)


def refusals(events: list[DefinitionEvent]) -> list[str]:
    return [event.code for event in events if isinstance(event, DefinitionRefused)]


def test_a_history_of_tokens_ends_in_the_expected_state() -> None:
    history = tokens_created_and_revoked()
    assert refusals(history.events) == [
        "token_exists", "token_exists", "bad_token", "bad_expiry", "no_such_token", "last_admin", "version_mismatch",
        "no_such_token",
    ]  # fmt: skip
    assert valid(history.state) == set()


def test_a_token_keeps_its_fields_and_its_id() -> None:
    (created,) = Scenario().when(create(1, "viewer", expires_at=START + timedelta(hours=1))).state.tokens.by_id.values()
    assert (created.id, created.name, created.role) == (str(UUID(int=1)), "ada", "viewer")
    assert created.created_at == START
    assert created.is_valid(START + timedelta(minutes=59))
    assert not created.is_valid(START + timedelta(hours=1))


def test_only_the_last_admin_token_that_does_not_expire_is_protected() -> None:
    scenario = Scenario().when(create(1), create(2, expires_at=START + timedelta(days=1)), create(3, "editor"))
    assert refusals(list(scenario.when(revoke(1)).events)) == ["last_admin"]
    assert valid(scenario.when(revoke(2), revoke(3), revoke(1)).state) == {token(1)}
    assert valid(scenario.when(revoke(1, allow_last_admin=True)).state) == {token(2), token(3)}
    assert valid(scenario.when(create(4), revoke(1)).state) == {token(2), token(3), token(4)}


def test_an_expiry_without_a_plausible_year_is_refused() -> None:
    assert refusals(list(Scenario().when(create(1, expires_at=datetime(9999, 1, 1, tzinfo=UTC))).events)) == [
        "bad_expiry"
    ]


def test_an_event_that_is_repeated_late_does_not_restore_a_revoked_token() -> None:
    created = Scenario().when(create(1, "viewer"))
    revoked = created.when(revoke(1))
    assert valid(evolve(revoked.state, created.events[0])) == set()
    assert valid(evolve(created.state, created.events[0])) == {token(1)}


def test_an_event_that_no_command_causes_changes_no_token() -> None:
    created = Scenario().when(create(1, "viewer"))
    (event,) = created.events
    assert isinstance(event, TokenCreated)
    event = replace(event, role="admin", command_offset=event.command_offset + 1)
    assert valid(evolve(created.state, replace(event, seq=3))) == {token(1)}
    again = evolve(created.state, replace(event, seq=2))
    assert again.tokens.by_id[token(1)].role == "viewer"
    (end,) = created.when(revoke(1)).events
    assert isinstance(end, TokenRevoked)
    assert valid(evolve(DefinitionsState(), replace(end, seq=1))) == set()
    (refusal,) = created.when(create(1)).events
    assert valid(evolve(DefinitionsState(), replace(refusal, seq=1))) == set()


def test_the_number_of_valid_tokens_is_limited() -> None:
    expiry = START + timedelta(minutes=MAX_TOKENS + 1)
    full = Scenario().when(create(0), *(create(number, "viewer", expires_at=expiry) for number in range(1, MAX_TOKENS)))
    assert len(valid(full.state)) == MAX_TOKENS
    assert refusals(list(full.when(create(MAX_TOKENS)).events)) == ["too_many_tokens"]
    later = full.when(replace(create(MAX_TOKENS), issued_at=expiry))
    assert valid(later.state) == {token(0), token(MAX_TOKENS)}, "expired ones make room"
