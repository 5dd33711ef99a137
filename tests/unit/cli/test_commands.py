"""Every command has help that loads quickly; options become the values of the API."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from app.cli.discovery import find
from app.cli.exits import EXITS, UNAVAILABLE, CommandError
from app.cli.job.arguments import configuration, json_argument
from app.cli.job.policies import cadence
from app.cli.main import cli
from app.cli.param_types import seconds


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    context = click.Context(group)
    found: list[tuple[str, ...]] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found += [(*path, name), *(commands(command, (*path, name)) if isinstance(command, click.Group) else [])]
    return found


@pytest.mark.parametrize("path", commands(cli), ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    assert result.output.splitlines()[2].strip(), "it has a description"
    assert "\\b" not in result.output
    assert "..." not in result.output.partition("Commands:")[2], "command descriptions are complete"


@pytest.mark.parametrize(
    ("path", "example"),
    [
        (
            ["job", "create"],
            "  entrepot job create --provider file --name Flights source=flights.csv.gz stream=flights",
        ),
        (["completion"], '  zsh:  put  eval "$(entrepot completion zsh)"   in ~/.zshrc'),
    ],
)
def test_an_example_in_a_help_page_keeps_its_lines(path: list[str], example: str) -> None:
    result = CliRunner().invoke(cli, [*path, "--help"], prog_name="entrepot", terminal_width=120)
    assert example in result.output.splitlines()


def test_help_lists_every_exit_code() -> None:
    output = CliRunner().invoke(cli, ["--help"]).output
    assert all(f"  {code} " in output for code in EXITS)


def test_help_imports_no_heavy_modules() -> None:
    script = """
import sys
from click.testing import CliRunner
from app.cli.main import cli
assert CliRunner().invoke(cli, ["--help"]).exit_code == 0
print([name for name in ("aiohttp", "aiokafka", "faust", "pydantic", "rich", "sqlalchemy") if name in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def entrepot(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.cli.main", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, env={"PATH": "/bin", **environment}
    )


def test_a_password_in_a_url_is_masked() -> None:
    away = entrepot("job", "list", "--url", "http://me:s3cret@127.0.0.1:1")
    assert "at http://•••@127.0.0.1:1 " in away.stderr
    assert "s3cret" not in away.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_unwritable_output_is_one_sentence_and_a_closed_pipe_none() -> None:
    command = f"{sys.executable} -m app.cli.main --help"
    full = subprocess.run(f"{command} > /dev/full", shell=True, stderr=subprocess.PIPE, text=True, check=False)
    assert (full.returncode, full.stderr) == (1, "Error: cannot write the output: No space left on device\n")
    left = subprocess.run(f"{command} | true", shell=True, stderr=subprocess.PIPE, text=True, check=False)
    assert (left.returncode, left.stderr) == (0, "")


def test_exit_code_of_missing_resources(tmp_path: Path) -> None:
    stopped = entrepot("job", "list", "--data-dir", str(tmp_path))
    assert (stopped.returncode, stopped.stdout) == (6, "")
    assert f"Entrepot is not running in {tmp_path}: start it with `entrepot up`" in stopped.stderr
    away = entrepot("job", "list", "--url", "http://127.0.0.1:1")
    assert away.returncode == 6
    assert "cannot reach Entrepot at http://127.0.0.1:1" in away.stderr
    assert entrepot("job", "lsit").returncode == 2


def test_an_invalid_setting_is_named_without_its_value() -> None:
    wrong = entrepot("worker", "control", ENTREPOT_PARTITIONS="hunter2")
    assert wrong.returncode == 5
    assert "ENTREPOT_PARTITIONS: expected an integer" in wrong.stderr
    assert "hunter2" not in wrong.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_a_locale_without_a_character_is_no_error(encoding: str) -> None:
    shown = entrepot("collect", "--help", PYTHONIOENCODING=encoding)
    assert (shown.returncode, "A,B," in shown.stdout) == (0, True)
    failed = entrepot("job", "show", "日本", "--data-dir", "/nowhere/ü", PYTHONIOENCODING=encoding)
    assert (failed.returncode, "Entrepot is not running in /nowhere/" in failed.stderr) == (6, True)


def test_a_closed_pipe_is_no_error() -> None:
    shell = f"{sys.executable} -m app.cli.main --help | head -1; echo ${{PIPESTATUS[0]}}"
    found = subprocess.run(["/bin/bash", "-c", shell], capture_output=True, text=True, check=True)
    assert found.stderr == ""
    assert found.stdout.splitlines()[1] == "0"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_for_each_shell(shell: str) -> None:
    found = entrepot("completion", shell)
    assert found.returncode == 0
    assert "_ENTREPOT_COMPLETE" in found.stdout


def test_fields_override_the_file(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text('{"source": "a.csv", "header_row": true}')
    found = configuration(f"@{file}", ["source=b.csv", "header_row:=false", "note=a=b", 'fields:=["x"]'])
    assert found == {"source": "b.csv", "header_row": False, "note": "a=b", "fields": ["x"]}
    assert configuration(None, []) == {}


@pytest.mark.parametrize("text", ["source", "=x", ":=1", "a:=nonsense"])
def test_an_invalid_field_is_rejected(text: str) -> None:
    with pytest.raises(click.BadParameter):
        configuration(None, [text])


def test_a_configuration_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"source": "a.csv"}'))
    assert configuration("@-", ["stream=a"]) == {"source": "a.csv", "stream": "a"}


@pytest.mark.parametrize("url", ["https://user:pw@host/", "https://host/?token=abc"])
def test_credentials_in_arguments_give_a_warning(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configuration(None, [f"source={url}"])
    configuration(json.dumps({"source": url}), [])
    assert capsys.readouterr().err.count("--config @FILE") == 2
    (tmp_path / "config.json").write_text(json.dumps({"source": url}))
    configuration(f"@{tmp_path / 'config.json'}", ["stream=a"])
    assert capsys.readouterr().err == ""


def test_a_configuration_is_an_object(tmp_path: Path) -> None:
    with pytest.raises(click.BadParameter, match="expected a JSON object"):
        json_argument("[1]", "--config")
    with pytest.raises(click.BadParameter, match="No such file"):
        json_argument(f"@{tmp_path / 'none.json'}", "--config")


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        (None, None, None),
        (None, "Europe/Berlin", {"time_zone": "Europe/Berlin"}),
        ("once", None, {"kind": "once"}),
        ("1h30m", None, {"kind": "interval", "every_seconds": 5400}),
        ("0 3 * * *", "Europe/Berlin", {"kind": "cron", "cron": "0 3 * * *", "time_zone": "Europe/Berlin"}),
        ("continuous", None, {"kind": "continuous", "every_seconds": 5}),
        ("@daily", "Europe/Berlin", {"kind": "cron", "cron": "@daily", "time_zone": "Europe/Berlin"}),
    ],
)
def test_schedules_are_parsed(text: str | None, zone: str | None, expected: object) -> None:
    assert cadence(text, zone) == expected


def test_an_invalid_schedule_is_rejected() -> None:
    with pytest.raises(click.BadParameter, match="invalid schedule 'sometimes'; expected once, continuous"):
        cadence("sometimes", None)
    assert seconds("1w2d3h4m5s") == 788_645


def write_address(data_dir: Path, pid: int | None = None) -> None:
    """Write the address file of an API, by default of a living process."""
    address = {"url": "http://127.0.0.1:8470", "pid": os.getpid() if pid is None else pid}
    (data_dir / "api.json").write_text(json.dumps(address))


def test_the_address_of_an_api_that_has_ended_is_not_used(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write_address(tmp_path, ended.pid)
    with pytest.raises(CommandError) as error:
        find(None, None, tmp_path)
    assert error.value.exit_code == UNAVAILABLE, "another instance may have its port"


@pytest.mark.parametrize("command", ["verify", "topics", "views rebuild", "kafka-config", "master-key"])
def test_no_command_uses_a_default_address(command: str, tmp_path: Path) -> None:
    result = entrepot(*command.split(), "--data-dir", str(tmp_path))
    assert (result.returncode, result.stdout) == (UNAVAILABLE, "")
    assert f"No Kafka is known in {tmp_path}" in result.stderr


@pytest.mark.parametrize("command", ["worker control", "api"])
def test_no_role_uses_a_default_address(command: str, tmp_path: Path) -> None:
    result = entrepot(*command.split(), "--data-dir", str(tmp_path))
    assert result.returncode == UNAVAILABLE
    assert f"No Kafka is known in {tmp_path}" in result.stderr


def test_a_data_directory_in_arguments_wins_over_the_url_of_the_environment(tmp_path: Path) -> None:
    elsewhere = {"ENTREPOT_URL": "http://127.0.0.1:1", "ENTREPOT_TOKEN": "of another cluster"}
    stopped = entrepot("job", "list", "--data-dir", str(tmp_path), **elsewhere)
    assert f"Entrepot is not running in {tmp_path}" in stopped.stderr
    write_address(tmp_path)
    (tmp_path / "admin-token").write_text("ent_secret")
    shown = entrepot("env", "--data-dir", str(tmp_path), **elsewhere)
    assert shown.stdout == "export ENTREPOT_URL=http://127.0.0.1:8470\nexport ENTREPOT_TOKEN=ent_secret\n"
    explicit = entrepot("env", "--data-dir", str(tmp_path), "--url", "http://127.0.0.1:2", "--token", "a b")
    assert explicit.stdout == "export ENTREPOT_URL=http://127.0.0.1:2\nexport ENTREPOT_TOKEN='a b'\n"


def test_a_command_prints_which_cluster_it_speaks_to(tmp_path: Path) -> None:
    away = entrepot("job", "list", "--url", "http://127.0.0.1:1")
    assert away.stderr.startswith("Entrepot at http://127.0.0.1:1\n")
    (tmp_path / "kafka-address").write_text("127.0.0.1:1")
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "password").write_text("s3cret")
    away = entrepot("kafka-config", "--data-dir", str(tmp_path))
    assert away.stderr.startswith(f"Kafka at 127.0.0.1:1 (data directory: {tmp_path})\n")
    silent = entrepot("job", "list", "--url", "http://127.0.0.1:1", "-o", "json")
    assert silent.stderr.startswith("Error: ")


def test_the_api_and_the_token_are_found_in_the_data_directory(tmp_path: Path) -> None:
    write_address(tmp_path)
    (tmp_path / "admin-token").write_text("ent_secret\n")
    found = find(None, None, tmp_path)
    assert (found.url, found.token) == ("http://127.0.0.1:8470", "ent_secret")
    assert find(None, "mine", tmp_path).token == "mine"
    assert find("http://127.0.0.1:8470/", None, tmp_path).token == "ent_secret"


def test_without_a_token_in_the_data_directory_that_of_the_settings_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_address(tmp_path)
    monkeypatch.setenv("ENTREPOT_ADMIN_TOKEN", "of the settings")
    assert find(None, None, tmp_path).token == "of the settings"
    (tmp_path / "admin-token").write_text("ent_secret\n")
    assert find(None, None, tmp_path).token == "ent_secret"


def test_a_damaged_token_file_is_named_with_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_address(tmp_path)
    path = tmp_path / "admin-token"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CommandError, match=f"the token in {path} can't be read: .* can't decode byte 0xff"):
        find(None, None, tmp_path)
    assert find(None, "mine", tmp_path).token == "mine"
    monkeypatch.setenv("ENTREPOT_ADMIN_TOKEN", "of the settings")
    assert find(None, None, tmp_path).token == "of the settings"


@pytest.mark.parametrize("setting", ["", "of the settings"])
def test_an_admin_token_is_sent_to_no_other_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    write_address(tmp_path)
    (tmp_path / "admin-token").write_text("ent_secret\n")
    monkeypatch.setenv("ENTREPOT_ADMIN_TOKEN", setting)
    assert find("http://elsewhere.example", None, tmp_path).token is None


def test_a_broken_address_file_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "api.json").write_text("{")
    with pytest.raises(CommandError) as error:
        find(None, None, tmp_path)
    assert error.value.exit_code == UNAVAILABLE
