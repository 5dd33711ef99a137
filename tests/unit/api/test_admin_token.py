"""The files of the admin token of a data directory."""

import re
import stat
from pathlib import Path

import pytest

from app.api.services.admin_token import (
    activate_admin_secret,
    admin_secret,
    drop_pending_admin_secret,
    pending_admin_secret,
)


def test_the_admin_token_waits_in_a_private_file(tmp_path: Path) -> None:
    secret = pending_admin_secret(tmp_path)
    assert re.fullmatch(r"ent_[\w-]{43}", secret)
    assert pending_admin_secret(tmp_path) == secret, "another server uses the same"
    assert admin_secret(tmp_path) == ""
    activate_admin_secret(tmp_path)
    activate_admin_secret(tmp_path)
    assert admin_secret(tmp_path) == secret
    assert [path.name for path in tmp_path.iterdir()] == ["admin-token"]
    assert stat.S_IMODE((tmp_path / "admin-token").stat().st_mode) == 0o600


def test_a_pending_admin_token_is_dropped(tmp_path: Path) -> None:
    first = pending_admin_secret(tmp_path)
    drop_pending_admin_secret(tmp_path)
    drop_pending_admin_secret(tmp_path)
    assert pending_admin_secret(tmp_path) != first


@pytest.mark.parametrize("content", [b"", b"\n", b"ent_short", b"ent_" + b"\xff" * 43])
def test_a_damaged_pending_admin_token_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "admin-token.new"
    path.write_bytes(content)
    assert re.fullmatch(r"ent_[\w-]{43}", secret := pending_admin_secret(tmp_path))
    assert path.read_text().strip() == secret


def test_a_damaged_admin_token_is_not_valid(tmp_path: Path) -> None:
    (tmp_path / "admin-token").write_bytes(b"\xff")
    assert admin_secret(tmp_path) == "\ufffd"
