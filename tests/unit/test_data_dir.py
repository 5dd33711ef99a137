"""One supervisor per data directory, its format, and settings in environment variables."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.data_dir import (
    FORMAT,
    IncompatibleFormatError,
    InUseError,
    UnsafeDataDirError,
    lock_data_dir,
    lock_holder,
    prepare_data_dir,
)
from app.settings import Settings
from app.supervisor.environment import environment_of


def test_a_second_supervisor_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    with lock_data_dir(tmp_path):
        assert lock_holder(tmp_path) == os.getpid()
        with (
            pytest.raises(InUseError, match=f"in use by process {os.getpid()}; stop it, or choose another"),
            lock_data_dir(tmp_path),
        ):
            pass
    assert lock_holder(tmp_path) is None
    with lock_data_dir(tmp_path):
        pass


def test_the_lock_of_a_killed_supervisor_is_released(tmp_path: Path) -> None:
    script = f"""
import os, pathlib, signal
from app.data_dir import lock_data_dir
with lock_data_dir(pathlib.Path({str(tmp_path)!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    with lock_data_dir(tmp_path):
        assert lock_holder(tmp_path) == os.getpid()


@pytest.mark.parametrize(
    ("stamp", "actual"), [(None, "1"), ("1\n", "1"), ("99\n", "99"), ("two\x1b[31m", r"'two\\x1b\[31m'"), ("", "''")]
)
def test_data_of_another_format_is_refused(tmp_path: Path, stamp: str | None, actual: str) -> None:
    (tmp_path / "broker").mkdir()
    if stamp is not None:
        (tmp_path / "format").write_text(stamp)
    with (
        pytest.raises(IncompatibleFormatError, match=f"has format {actual}; this version .* format {FORMAT}. Start"),
        lock_data_dir(tmp_path),
    ):
        pass
    assert lock_holder(tmp_path) is None, "the lock is released"


def test_a_new_data_directory_gets_the_current_format(tmp_path: Path) -> None:
    with lock_data_dir(tmp_path):
        (tmp_path / "broker").mkdir()
    assert (tmp_path / "format").read_text() == f"{FORMAT}\n"
    with lock_data_dir(tmp_path):
        pass


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o2770])
def test_a_data_directory_is_restricted_to_its_owner(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with lock_data_dir(tmp_path):
        assert mode_of(tmp_path) & 0o777 == 0o700


def test_a_data_directory_is_created_private(tmp_path: Path) -> None:
    prepare_data_dir(tmp_path / "parent" / "data")
    assert mode_of(tmp_path / "parent" / "data") == 0o700


def test_a_data_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(UnsafeDataDirError, match=r"belongs to user \d+, not to user \d+; choose another"):
        prepare_data_dir(tmp_path)


def test_a_shared_data_directory_is_refused_and_stays_shared(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(UnsafeDataDirError, match="is shared by all users"), lock_data_dir(tmp_path):
        pass
    assert mode_of(tmp_path) == 0o1777
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc has directories that not even root can restrict")
def test_a_data_directory_that_cannot_be_restricted_is_refused() -> None:
    with pytest.raises(UnsafeDataDirError, match="can't be restricted to its owner: Operation not permitted"):
        prepare_data_dir(Path("/proc/self"))


def test_settings_survive_the_round_trip_through_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(
        data_dir=tmp_path,
        bootstrap_servers="127.0.0.1:9",
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_user="someone",
        kafka_password_file=tmp_path / "password",
        api_port=0,
        file_roots=(tmp_path / "a", tmp_path / "b"),
        allow_private_networks=True,
        admin_token=SecretStr("hush-hush-0123456789"),
        log_format="json",
    )
    environment = environment_of(settings, {"PATH": "/bin", "ENTREPOT_PARTITIONS": "9"})
    assert environment["PATH"] == "/bin"
    for name in [name for name in os.environ if name.startswith("ENTREPOT_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings
