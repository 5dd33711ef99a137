"""Tokens, sessions and sign-in codes: stored as hashes, shared by processes, with expiry."""

import re
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.auth import MAX_CODES, LastAdminError, PastExpiryError, TokenFileError, Tokens, form_token, sign_in_link

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(tmp_path: Path, clock: Clock) -> Tokens:
    created = Tokens(tmp_path, clock=clock)
    created.ensure_admin()
    return created


def test_the_first_start_creates_a_private_admin_token(tmp_path: Path, tokens: Tokens) -> None:
    secret = (tmp_path / "admin-token").read_text().strip()
    caller = tokens.authenticate(secret)
    assert caller
    assert (caller.name, caller.role) == ("admin", "admin")
    tokens.ensure_admin()
    assert (tmp_path / "admin-token").read_text().strip() == secret
    assert secret not in (tmp_path / "tokens.json").read_text()
    for name in ("admin-token", "tokens.json", "tokens.lock"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_revoked_admin_token_is_replaced_at_the_next_start(tmp_path: Path, tokens: Tokens) -> None:
    old = tokens.list_tokens()[0]
    tokens.create("other", "admin")
    assert tokens.revoke(old.id)
    tokens.ensure_admin()
    assert tokens.authenticate((tmp_path / "admin-token").read_text().strip())


def test_changes_are_visible_to_other_processes(tmp_path: Path, tokens: Tokens, clock: Clock) -> None:
    other = Tokens(tmp_path, clock=clock)
    token, secret = tokens.create("ada", "editor")
    assert other.authenticate(secret)
    other.revoke(token.id)
    assert tokens.authenticate(secret) is None


def test_an_expired_token_is_rejected(tokens: Tokens, clock: Clock) -> None:
    _, secret = tokens.create("guest", "viewer", NOON + timedelta(hours=1))
    assert tokens.authenticate(secret)
    clock.now += timedelta(hours=1)
    assert tokens.authenticate(secret) is None
    assert "guest" not in {token.name for token in tokens.list_tokens()}


def test_the_last_admin_token_can_not_be_revoked(tokens: Tokens) -> None:
    with pytest.raises(LastAdminError):
        tokens.revoke(tokens.list_tokens()[0].id)


def test_the_last_admin_token_without_expiry_can_not_be_revoked(tokens: Tokens) -> None:
    passing, _ = tokens.create("guest", "admin", NOON + timedelta(hours=1))
    with pytest.raises(LastAdminError):
        tokens.revoke(next(token.id for token in tokens.list_tokens() if token.name == "admin"))
    assert tokens.revoke(passing.id)


def test_a_token_can_not_expire_in_the_past(tokens: Tokens) -> None:
    with pytest.raises(PastExpiryError):
        tokens.create("late", "viewer", NOON)


def test_an_admin_file_with_the_token_of_another_role_is_replaced(tmp_path: Path, tokens: Tokens) -> None:
    _, viewer = tokens.create("ada", "viewer")
    (tmp_path / "admin-token").write_text(viewer)
    tokens.ensure_admin()
    caller = tokens.authenticate((tmp_path / "admin-token").read_text().strip())
    assert caller
    assert caller.role == "admin"


def test_the_token_in_the_settings_has_the_admin_role(tmp_path: Path, clock: Clock) -> None:
    tokens = Tokens(tmp_path, SecretStr("from-the-environment"), clock)
    caller = tokens.authenticate("from-the-environment")
    assert caller
    assert caller.role == "admin"
    assert Tokens(tmp_path, SecretStr(""), clock).authenticate("") is None


def test_a_sign_in_link_works_once_and_expires(tmp_path: Path, tokens: Tokens, clock: Clock) -> None:
    link = sign_in_link(tmp_path, "http://127.0.0.1:1/", clock)
    code = link.removeprefix("http://127.0.0.1:1/sign-in?code=")
    assert tokens.authenticate(code) is None, "a code is not a token"
    session = tokens.redeem(code)
    assert session
    assert tokens.redeem(code) is None
    caller = tokens.authenticate(session)
    assert caller
    assert (caller.kind, caller.role) == ("session", "admin")
    late = tokens.sign_in_code(caller)
    clock.now += timedelta(minutes=15)
    assert tokens.redeem(late) is None


def test_sessions_end_with_their_token_or_by_signing_out(tokens: Tokens) -> None:
    token, secret = tokens.create("ada", "operator")
    first, second = tokens.sign_in(secret), tokens.sign_in(secret)
    assert first
    assert second
    assert tokens.sign_in(first) is None, "a session can't create another one"
    tokens.sign_out(first)
    assert tokens.authenticate(first) is None
    assert tokens.authenticate(second)
    tokens.revoke(token.id)
    assert tokens.authenticate(second) is None


def test_a_session_of_a_session_ends_with_the_root_token(tokens: Tokens) -> None:
    token, secret = tokens.create("ada", "operator")
    first = tokens.authenticate(tokens.sign_in(secret) or "")
    assert first
    second = tokens.authenticate(tokens.redeem(tokens.sign_in_code(first)) or "")
    assert second
    unused = tokens.sign_in_code(second)
    assert {session.root_id for session in tokens.list_sessions()} == {token.id}
    assert tokens.accepts(second)
    tokens.revoke(token.id)
    assert not tokens.accepts(first)
    assert not tokens.accepts(second)
    assert tokens.redeem(unused) is None


def test_sessions_and_codes_end_when_their_token_expires(tokens: Tokens, clock: Clock) -> None:
    _, secret = tokens.create("guest", "viewer", NOON + timedelta(minutes=5))
    caller = tokens.authenticate(secret)
    assert caller
    session, code = tokens.sign_in(secret), tokens.sign_in_code(caller)
    assert session
    clock.now += timedelta(minutes=5)
    assert tokens.authenticate(session) is None
    assert tokens.redeem(code) is None
    assert tokens.list_sessions() == ()


def test_sessions_of_the_token_in_the_settings_end_when_it_changes(tmp_path: Path, clock: Clock) -> None:
    session = Tokens(tmp_path, SecretStr("one"), clock).sign_in("one")
    assert session
    Tokens(tmp_path, clock=clock).create("ada", "viewer")  # a process without these settings keeps the session
    assert Tokens(tmp_path, SecretStr("one"), clock).authenticate(session)
    assert Tokens(tmp_path, SecretStr("two"), clock).authenticate(session) is None


def test_a_session_is_ended_by_its_id(tokens: Tokens) -> None:
    token, secret = tokens.create("ada", "operator")
    session = tokens.sign_in(secret)
    assert session
    assert not tokens.end_session(token.id), "a token is not a session"
    assert tokens.end_session(tokens.list_sessions()[0].id)
    assert tokens.authenticate(session) is None
    assert tokens.authenticate(secret)


def test_a_new_sign_in_code_replaces_the_oldest_of_the_token(tokens: Tokens) -> None:
    callers = [tokens.authenticate(tokens.create(name, "viewer")[1]) for name in ("ada", "bob")]
    assert callers[0]
    assert callers[1]
    codes = [tokens.sign_in_code(callers[0]) for _ in range(MAX_CODES)]
    other = tokens.sign_in_code(callers[1])
    codes.append(tokens.sign_in_code(callers[0]))
    assert tokens.redeem(codes[0]) is None
    assert tokens.redeem(other)
    assert all(tokens.redeem(code) for code in codes[1:])


@pytest.mark.parametrize("role", ["viewer", "operator", "editor", "admin"])
def test_a_role_includes_all_lower_roles(tokens: Tokens, role: str) -> None:
    order = ("viewer", "operator", "editor", "admin")
    _, secret = tokens.create("x", role)
    caller = tokens.authenticate(secret)
    assert caller
    assert [lower for lower in order if caller.may(lower)] == list(order[: order.index(role) + 1])


@pytest.mark.parametrize("content", [b'[{"id": "a", "na', b"", b"{}", b"[1]", b"\xff", b'[{"id": "s3cret"}]'])
def test_a_broken_token_file_is_named_without_its_content(tmp_path: Path, tokens: Tokens, content: bytes) -> None:
    assert tokens.list_tokens()
    file = tmp_path / "tokens.json"
    file.write_bytes(content)
    with pytest.raises(TokenFileError, match=re.escape(str(file))) as raised:
        tokens.authenticate("any")
    assert "s3cret" not in str(raised.value)
    with pytest.raises(TokenFileError):
        tokens.ensure_admin()
    assert file.read_bytes() == content


def test_an_unreadable_token_file_has_a_cause(tmp_path: Path, tokens: Tokens) -> None:
    (tmp_path / "tokens.json").unlink()
    (tmp_path / "tokens.json").mkdir()
    with pytest.raises(TokenFileError, match="Is a directory"):
        tokens.list_tokens()


def test_a_form_token_does_not_reveal_its_session(tokens: Tokens) -> None:
    make: Callable[[str], str] = form_token
    assert make("one") != make("two")
    assert "one" not in make("one")
