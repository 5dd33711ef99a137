"""Credentials: the fold of sessions and codes, and the token of the settings."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from app.auth import (
    MAX_CODES,
    MAX_SESSIONS,
    Caller,
    Sessions,
    SettingsToken,
    form_token,
)
from schemas.access import ROLES, AccessRecord, AccessRole, BrowserSession, SignInCode

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


def code(name: str, root: str = "ada", expires_at: datetime = LATER) -> SignInCode:
    return SignInCode(id=name, root_id=root, created_at=NOON, expires_at=expires_at)


def session(name: str, code_id: str = "", root: str = "ada", expires_at: datetime = LATER) -> BrowserSession:
    return BrowserSession(id=name, root_id=root, created_at=NOON, expires_at=expires_at, code_id=code_id)


def folded(*records: AccessRecord) -> Sessions:
    sessions = Sessions()
    for record in records:
        sessions.apply(record.id, record)
    return sessions


def open_ids(sessions: Sessions, now: datetime = NOON) -> list[str]:
    return [session.id for session in sessions.open_sessions(now)]


def test_codes_and_sessions_are_found_by_kind_until_they_expire() -> None:
    sessions = folded(code("c"), session("s"))
    assert sessions.get(SignInCode, "c", NOON) == code("c")
    assert sessions.get(BrowserSession, "c", NOON) is None, "a code is no session"
    assert sessions.get(BrowserSession, "s", NOON) == session("s")
    assert sessions.get(BrowserSession, "s", LATER) is None
    assert (open_ids(sessions), open_ids(sessions, LATER)) == (["s"], [])
    assert sessions.obsolete(NOON) == []
    assert sessions.obsolete(LATER) == ["c", "s"]


def test_the_first_session_of_a_code_is_valid_and_uses_it_up() -> None:
    sessions = folded(code("c"), session("first", "c"), session("second", "c"))
    assert open_ids(sessions) == ["first"]
    assert sessions.get(SignInCode, "c", NOON) is None
    assert set(sessions.obsolete(NOON)) == {"c", "second"}
    sessions.apply("c", None)
    sessions.apply("second", None)
    assert sessions.obsolete(NOON) == []
    sessions.apply("third", session("third", "c"))
    assert open_ids(sessions) == ["first"]


def test_a_used_code_opens_no_session_after_the_first_one_has_ended() -> None:
    sessions = folded(code("c"), session("first", "c"))
    sessions.apply("first", None)
    sessions.apply("second", session("second", "c"))
    assert open_ids(sessions) == []
    sessions.obsolete(LATER)
    assert set(sessions.obsolete(NOON)) == {"c", "second"}


def test_the_first_session_is_valid_without_the_record_of_its_code() -> None:
    assert open_ids(folded(session("first", "c"), session("second", "c"))) == ["first"]


def test_a_repeated_record_changes_nothing() -> None:
    assert open_ids(folded(code("c"), session("s", "c"), session("s", "c"))) == ["s"]


def test_a_tombstone_of_an_unknown_record_changes_nothing() -> None:
    sessions = folded(session("s"))
    sessions.apply("unknown", None)
    assert open_ids(sessions) == ["s"]


@pytest.mark.parametrize(("new", "max_records"), [(code, MAX_CODES), (session, MAX_SESSIONS)])
def test_a_new_record_replaces_the_oldest_of_its_token(new: Callable[[str], AccessRecord], max_records: int) -> None:
    other = session("other", root="bob")
    records = [new(str(number)) for number in range(max_records + 1)]
    sessions = folded(other, *records)
    assert [sessions.get(type(record), record.id, NOON) for record in records] == [None, *records[1:]]
    assert sessions.get(BrowserSession, "other", NOON) == other
    assert sessions.obsolete(NOON) == ["0"]


# The token of the settings


def test_the_token_of_the_settings_has_an_id_that_depends_on_it() -> None:
    one, same, two = (SettingsToken(SecretStr(secret)) for secret in ("one", "one", "two"))
    assert one.matches("one")
    assert not one.matches("two")
    assert not one.matches("\udcff")
    assert one.id == same.id != two.id
    assert "one" not in one.id


@pytest.mark.parametrize("secret", [None, SecretStr("")])
def test_without_a_token_in_the_settings_none_matches(secret: SecretStr | None) -> None:
    token = SettingsToken(secret)
    assert token.id == ""
    assert not token.matches("")


# Callers


@pytest.mark.parametrize("role", ROLES)
def test_a_role_includes_all_lower_roles(role: AccessRole) -> None:
    caller = Caller("1", "ada", role, "token", "1")
    assert [lower for lower in ROLES if caller.may(lower)] == list(ROLES[: ROLES.index(role) + 1])


def test_a_form_token_does_not_reveal_its_session() -> None:
    assert form_token("one") != form_token("two")
    assert "one" not in form_token("one")
