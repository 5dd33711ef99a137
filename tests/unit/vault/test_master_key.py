"""The file of the master key: its permissions, its damages, and several keys after a rotation."""

from base64 import b64encode
from pathlib import Path

import pytest

from app.settings import Settings
from app.vault.cipher import MASTER_KEY_BYTES, MasterKey, MasterKeyMissing, SecretBinding
from app.vault.master_key import MasterKeyFileError, create_master_key, master_key_path, no_keys, read_key_ring
from app.vault.secret import Secret

BINDING = SecretBinding("job/1", "/source")
OLD, NEW = b"o" * MASTER_KEY_BYTES, b"n" * MASTER_KEY_BYTES


def written(path: Path, *keys: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(b"\n".join(map(b64encode, keys)) + b"\n")
    path.chmod(mode)
    return path


def test_a_created_key_is_private_and_read_again(tmp_path: Path) -> None:
    created = create_master_key(tmp_path / "master-key")
    assert (tmp_path / "master-key").stat().st_mode & 0o777 == 0o600
    assert read_key_ring(tmp_path / "master-key").keys.keys() == created.keys.keys()
    assert create_master_key(tmp_path / "other").keys.keys() != created.keys.keys()


def test_without_a_file_there_are_no_keys(tmp_path: Path) -> None:
    assert read_key_ring(tmp_path / "master-key").current is None


def test_the_first_key_seals_and_all_open(tmp_path: Path) -> None:
    before = read_key_ring(written(tmp_path / "key", OLD))
    assert before.current
    sealed = before.current.sealing_key.seal(b"value", BINDING)
    after = read_key_ring(written(tmp_path / "key", NEW, OLD))
    assert after.current
    assert after.current.key_id == MasterKey(Secret(NEW)).key_id
    assert after.open(sealed, BINDING).reveal() == b"value"


def test_a_missing_key_is_named() -> None:
    sealed = MasterKey(Secret(OLD)).sealing_key.seal(b"value", BINDING)
    with pytest.raises(MasterKeyMissing) as missing:
        no_keys().open(sealed, BINDING)
    assert missing.value.params == {"key": sealed.key_id}


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o620])
def test_a_file_that_others_may_access_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(MasterKeyFileError, match="chmod 600"):
        read_key_ring(written(tmp_path / "key", OLD, mode=mode))


@pytest.mark.parametrize("content", [b"", b"\n", b"short\n", b"A" * 43, b64encode(OLD) + b"\n?\n", b"\xff" * 44])
def test_a_damaged_file_is_named_and_not_shown(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(MasterKeyFileError) as error:
        read_key_ring(tmp_path / "key")
    assert str(tmp_path / "key") in str(error.value)
    assert b64encode(OLD).decode() not in str(error.value)


def test_a_directory_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyFileError):
        read_key_ring(tmp_path)
    with pytest.raises(MasterKeyFileError):
        create_master_key(tmp_path / "missing" / "master-key")


def test_a_setting_names_another_file(tmp_path: Path) -> None:
    assert master_key_path(Settings(data_dir=tmp_path)) == tmp_path / "master-key"
    assert master_key_path(Settings(data_dir=tmp_path, master_key_file=tmp_path / "key")) == tmp_path / "key"
