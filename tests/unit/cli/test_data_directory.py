"""One supervisor per data directory, and settings that travel through the environment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.data_dir import FORMAT, IncompatibleFormatError, InUseError, announce_kafka, holder, only_one, with_kafka
from app.settings import Settings
from app.supervisor.environment import environment_of


def test_a_second_supervisor_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with only_one(tmp_path):
        assert holder(tmp_path) == os.getpid()
        with (
            pytest.raises(InUseError, match=f"in use by the process {os.getpid()}; stop it, or name another"),
            only_one(tmp_path),
        ):
            pass
    assert holder(tmp_path) is None
    with only_one(tmp_path):
        pass


def test_the_lock_of_a_supervisor_that_was_killed_is_free(tmp_path: Path) -> None:
    script = f"""
import os, pathlib, signal
from app.data_dir import only_one
with only_one(pathlib.Path({str(tmp_path)!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    with only_one(tmp_path):
        assert holder(tmp_path) == os.getpid()


@pytest.mark.parametrize(
    ("stamp", "found"), [(None, "1"), ("1\n", "1"), ("99\n", "99"), ("two\x1b[31m", r"'two\\x1b\[31m'"), ("", "''")]
)
def test_data_of_another_format_is_refused_with_advice(tmp_path: Path, stamp: str | None, found: str) -> None:
    (tmp_path / "broker").mkdir()
    if stamp is not None:
        (tmp_path / "format").write_text(stamp)
    with (
        pytest.raises(
            IncompatibleFormatError, match=f"has format {found}; this version .* format {FORMAT} only. Start"
        ),
        only_one(tmp_path),
    ):
        pass
    assert holder(tmp_path) is None, "the lock is released"


def test_a_new_data_directory_is_stamped_and_opens_again(tmp_path: Path) -> None:
    with only_one(tmp_path):
        (tmp_path / "broker").mkdir()
    assert (tmp_path / "format").read_text() == f"{FORMAT}\n"
    with only_one(tmp_path):
        pass


def test_settings_come_back_from_the_environment_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(
        data_dir=tmp_path,
        bootstrap_servers="127.0.0.1:9",
        api_port=0,
        file_roots=(tmp_path / "a", tmp_path / "b"),
        allow_private_networks=True,
        admin_token=SecretStr("hush"),
        log_format="json",
    )
    environment = environment_of(settings, {"PATH": "/bin", "ENTREPOT_PARTITIONS": "9"})
    assert environment["PATH"] == "/bin"
    for name in [each for each in os.environ if each.startswith("ENTREPOT_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_commands_find_the_broker_of_the_data_directory(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, bootstrap_servers="", broker_port=1234)
    assert with_kafka(settings).bootstrap_servers == "127.0.0.1:1234"
    announce_kafka(tmp_path, "127.0.0.1:5678")
    assert with_kafka(settings).bootstrap_servers == "127.0.0.1:5678"
    named = settings.model_copy(update={"bootstrap_servers": "kafka:9092"})
    assert with_kafka(named) is named
