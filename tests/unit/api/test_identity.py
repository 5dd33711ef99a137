"""Tokens are secrets that are kept as hashes, shared by processes, and end when they shall."""

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
    made = Tokens(tmp_path, clock=clock)
    made.ensure_admin()
    return made


def test_the_first_start_makes_an_admin_token_that_only_the_owner_can_read(tmp_path: Path, tokens: Tokens) -> None:
    secret = (tmp_path / "admin-token").read_text().strip()
    caller = tokens.caller(secret)
    assert caller
    assert (caller.name, caller.role) == ("admin", "admin")
    tokens.ensure_admin()
    assert (tmp_path / "admin-token").read_text().strip() == secret
    assert secret not in (tmp_path / "tokens.json").read_text()
    for name in ("admin-token", "tokens.json", "tokens.lock"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_revoked_admin_token_is_replaced_at_the_next_start(tmp_path: Path, tokens: Tokens) -> None:
    old = tokens.listed()[0]
    tokens.create("other", "admin")
    assert tokens.revoke(old.id)
    tokens.ensure_admin()
    assert tokens.caller((tmp_path / "admin-token").read_text().strip())


def test_another_process_sees_a_token_at_once(tmp_path: Path, tokens: Tokens, clock: Clock) -> None:
    other = Tokens(tmp_path, clock=clock)
    made, secret = tokens.create("ada", "editor")
    assert other.caller(secret)
    other.revoke(made.id)
    assert tokens.caller(secret) is None


def test_a_token_ends_when_it_expires(tokens: Tokens, clock: Clock) -> None:
    _, secret = tokens.create("guest", "viewer", NOON + timedelta(hours=1))
    assert tokens.caller(secret)
    clock.now += timedelta(hours=1)
    assert tokens.caller(secret) is None
    assert "guest" not in {each.name for each in tokens.listed()}


def test_the_last_admin_token_stays(tokens: Tokens) -> None:
    with pytest.raises(LastAdminError):
        tokens.revoke(tokens.listed()[0].id)


def test_the_settings_token_is_an_admin(tmp_path: Path, clock: Clock) -> None:
    tokens = Tokens(tmp_path, SecretStr("from-the-environment"), clock)
    caller = tokens.caller("from-the-environment")
    assert caller
    assert caller.role == "admin"
    assert Tokens(tmp_path, SecretStr(""), clock).caller("") is None


def test_a_sign_in_link_works_once_and_not_for_long(tmp_path: Path, tokens: Tokens, clock: Clock) -> None:
    link = sign_in_link(tmp_path, "http://127.0.0.1:1/", clock)
    code = link.removeprefix("http://127.0.0.1:1/sign-in?code=")
    assert tokens.caller(code) is None, "a code is no token"
    session = tokens.redeem(code)
    assert session
    assert tokens.redeem(code) is None
    caller = tokens.caller(session)
    assert caller
    assert (caller.kind, caller.role) == ("session", "admin")
    late = tokens.sign_in_code()
    clock.now += timedelta(minutes=15)
    assert tokens.redeem(late) is None


def test_sessions_end_with_their_token_and_by_signing_out(tokens: Tokens) -> None:
    made, secret = tokens.create("ada", "operator")
    first, second = tokens.sign_in(secret), tokens.sign_in(secret)
    assert first
    assert second
    assert tokens.sign_in(first) is None, "a session opens no other"
    tokens.sign_out(first)
    assert tokens.caller(first) is None
    assert tokens.caller(second)
    tokens.revoke(made.id)
    assert tokens.caller(second) is None


@pytest.mark.parametrize("role", ["viewer", "operator", "editor", "admin"])
def test_each_role_may_what_those_below_it_may(tokens: Tokens, role: str) -> None:
    order = ("viewer", "operator", "editor", "admin")
    _, secret = tokens.create("x", role)
    caller = tokens.caller(secret)
    assert caller
    assert [each for each in order if caller.may(each)] == list(order[: order.index(role) + 1])


def test_a_form_token_tells_nothing_of_its_session(tokens: Tokens) -> None:
    make: Callable[[str], str] = form_token
    assert make("one") != make("two")
    assert "one" not in make("one")
