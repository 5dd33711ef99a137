"""Tokens, sessions and sign-in codes: stored as hashes, shared by processes, with expiry."""

import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.auth import LastAdminError, Tokens, form_token, sign_in_link

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
    late = tokens.sign_in_code()
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


@pytest.mark.parametrize("role", ["viewer", "operator", "editor", "admin"])
def test_a_role_includes_all_lower_roles(tokens: Tokens, role: str) -> None:
    order = ("viewer", "operator", "editor", "admin")
    _, secret = tokens.create("x", role)
    caller = tokens.authenticate(secret)
    assert caller
    assert [lower for lower in order if caller.may(lower)] == list(order[: order.index(role) + 1])


def test_a_form_token_does_not_reveal_its_session(tokens: Tokens) -> None:
    make: Callable[[str], str] = form_token
    assert make("one") != make("two")
    assert "one" not in make("one")
