"""Files of every process are private, and `doctor` reports what other users may access."""

import asyncio
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from app.api.services.admin_token import activate_admin_secret, pending_admin_secret
from app.cli.main import main
from app.cli.service.doctor import Finding, check_permissions
from app.settings import Settings


def permissions_of(data_dir: Path) -> Finding:
    return asyncio.run(check_permissions(Settings(data_dir=data_dir)))


def test_files_of_every_process_are_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["entrepot", "--help"])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # `main` replaces it
    umask = os.umask(0o022)
    try:
        with pytest.raises(SystemExit):
            main()
        assert os.umask(umask) == 0o077
    finally:
        os.umask(umask)


def test_the_doctor_reports_exposed_files_and_the_command_that_restricts_them(tmp_path: Path) -> None:
    data_dir = tmp_path / "my data"
    assert permissions_of(data_dir).level == "ok", "not created yet"
    data_dir.mkdir(mode=0o700)
    pending_admin_secret(data_dir)
    activate_admin_secret(data_dir)
    pending_admin_secret(data_dir)
    assert permissions_of(data_dir).level == "ok"
    for name, mode in (("", 0o750), ("admin-token", 0o644), ("admin-token.new", 0o602)):
        (data_dir / name).chmod(mode)
        finding = permissions_of(data_dir)
        assert finding.level == "fail"
        assert finding.advice == f"run: chmod go= '{data_dir / name}'"
        subprocess.run(shlex.split(finding.advice.removeprefix("run: ")), check=True)
        assert permissions_of(data_dir).level == "ok"


def test_the_doctor_reports_a_data_directory_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    finding = permissions_of(tmp_path)
    assert finding.level == "fail"
    assert f"belongs to user {tmp_path.stat().st_uid}" in finding.message
