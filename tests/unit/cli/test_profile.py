"""Profiles in a terminal: look-up, explanation, and deletion with a confirmation."""

import re
from collections.abc import AsyncGenerator
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from app.cli.client import ApiClient
from app.cli.data import profile
from app.cli.data.profile import profile_explain, profile_forget, profile_forgettings, profile_get
from app.cli.exits import NOT_FOUND, TIMED_OUT, CommandError
from app.cli.main import cli
from app.cli.session import Session

AT = "2026-02-01T10:00:00Z"
HOSTILE = "email:ada\x1b[31m@example.com"
SAID = {"timestamp": AT, "message_id": "5f0c9e0a-0000-4000-8000-000000000000/1/1", "job_id": "5f0c9e0a-0000-4000"}
PROFILE = {
    "id": HOSTILE,
    "identities": [HOSTILE, "cookie:c1"],
    "attributes": {
        "city": SAID | {"value": "Vienna", "merge": "latest"},
        "tags": SAID | {"value": ["a", "b"], "merge": "union", "job_id": None},
        "an attribute with quite a long name": SAID | {"value": "words and " * 12, "merge": "latest"},
    },
    "links": [SAID | {"identities": ["cookie:c1", HOSTILE]}],
}
MESSAGE = {
    "topic": "messages.realtime", "partition": 2, "offset": 40, "message_id": SAID["message_id"], "stream": "visits",
    "job_id": None, "timestamp": AT, "identities": [HOSTILE, "cookie:c1"], "rules_offset": 7,
    "blocked": ["phone:n/a"],
    "message": {"cookie": "c1", "city": "Vienna"},
}  # fmt: skip
ID = "8d2f6a4e-0000-4000-8000-000000000000"
FORGOTTEN = {
    "id": ID, "status": "forgotten", "at": AT, "requested_at": AT, "requested_by": "user:ada", "forgotten_at": AT,
    "identities": 2, "profiles": 1, "complete": True, "key_hashes": ["00"], "waiting_for": [],
}  # fmt: skip
UNDER_WAY = FORGOTTEN | {
    "status": "under_way", "forgotten_at": None, "identities": 1, "waiting_for": ["messages.backfill/0"],
}  # fmt: skip


class Profiles(ApiClient):
    """An API with one profile."""

    def __init__(self, *, known: bool = True, complete: bool = True, polls: int = 0) -> None:
        """Needs no session. A deletion ends after `polls` requests for its state; the first finds nothing."""
        self.asked: list[Any] = []
        self.known = known
        self.complete = complete
        self.polls = polls

    async def get(self, path: str, **query: object) -> Any:
        if path.startswith("/v2/forgetting"):
            return self.forgetting(path)
        if not self.known:
            raise CommandError("there is no profile", NOT_FOUND)
        self.asked.append((path, query))
        return PROFILE

    async def pages(self, path: str, page_size: int, **query: Any) -> AsyncGenerator[tuple[Any, bool], None]:
        if not self.known:
            raise CommandError("there is no profile", NOT_FOUND)
        yield {"profile": PROFILE, "messages": [MESSAGE]}, True
        yield {"profile": PROFILE, "messages": [MESSAGE]}, False

    async def send(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        self.asked.append((method, path))
        if self.polls:
            return {"id": ID, "href": f"/v2/forgetting/{ID}"}
        return FORGOTTEN | {"complete": self.complete}

    def forgetting(self, path: str) -> Any:
        self.asked.append(("GET", path))
        if path == "/v2/forgetting":
            return [UNDER_WAY, FORGOTTEN]
        self.polls -= 1
        if self.polls == 2:
            raise CommandError("no such forgetting", NOT_FOUND)
        return UNDER_WAY if self.polls > 0 else FORGOTTEN


async def asked(command: Any, output: Any = "table", **arguments: Any) -> Profiles:
    return await asked_of(Profiles(), command, output, **arguments)


async def asked_of(api: Profiles, command: Any, output: Any = "table", **arguments: Any) -> Profiles:
    await command.callback.__wrapped__(Session(api, output), key="cookie:c/1", **arguments)
    return api


async def test_a_profile_with_its_sources(capsys: pytest.CaptureFixture[str]) -> None:
    api = await asked(profile_get, as_of="2026-03-01T00:00:00Z")
    assert api.asked == [("/v2/profile/cookie%3Ac%2F1", {"as_of": "2026-03-01T00:00:00Z"})]
    out = capsys.readouterr().out
    assert "\x1b" not in out, "text of users is escaped"
    rows = [re.split(r"  +", line) for line in out.splitlines()]
    assert ["identities", r"email:ada\x1b[31m@example.com"] in rows
    assert ["", "cookie:c1"] in rows
    city = next(row for row in rows if row[0] == "city")
    assert city[1:3] == ["Vienna", "latest"]
    assert re.fullmatch(r"2026-02-01 \d\d:\d\d:00 \S+", city[3]), "with the zone"
    assert city[4] == "5f0c9e0a"
    assert next(row for row in rows if row[0] == "tags")[1] == '["a","b"]'
    await asked(profile_get, "yaml", as_of=None)
    assert yaml.safe_load(capsys.readouterr().out) == PROFILE


async def test_a_profile_explained(capsys: pytest.CaptureFixture[str]) -> None:
    await asked(profile_explain, limit=5)
    rows = [re.split(r"  +", line) for line in capsys.readouterr().out.splitlines()]
    assert ["location", "messages.realtime/2 at offset 40"] in rows
    assert ["rule version", "definitions.events at offset 7"] in rows
    assert ["blocked", "phone:n/a"] in rows
    assert ["payload", '{"cookie":"c1","city":"Vienna"}'] in rows
    await asked(profile_explain, "json", limit=5)
    assert yaml.safe_load(capsys.readouterr().out)["messages"] == [MESSAGE, MESSAGE]
    await asked(profile_explain, "json", limit=1)
    out, err = capsys.readouterr()
    assert yaml.safe_load(out)["messages"] == [MESSAGE]
    assert "--limit" in err


@pytest.mark.parametrize("command", [profile_get, profile_explain])
async def test_at_80_columns_it_fits(
    command: click.Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    await asked(command, **({"as_of": None} if command is profile_get else {"limit": 5}))
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, out.splitlines())) <= 80
    assert "EVENT TIME" in out


async def test_forgetting_needs_a_confirmation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api = await asked(profile_forget, time_limit=None, yes=True)
    assert api.asked[-1] == ("DELETE", "/v2/profile/cookie%3Ac%2F1")
    assert capsys.readouterr().out.startswith("deleted: 2 identities, messages up to 2026-02-01 ")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "n")
    with pytest.raises(click.Abort):
        await asked(profile_forget, time_limit=None, yes=False)
    assert r"Delete the profile of email:ada\x1b[31m@example.com, cookie:c1?" in capsys.readouterr().err, (
        "who it is, not just the key"
    )
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "y")
    assert (await asked(profile_forget, "json", time_limit=None, yes=False)).asked


async def test_forgetting_an_unknown_identity_prints_a_notice(capsys: pytest.CaptureFixture[str]) -> None:
    api = Profiles(known=False)
    await asked_of(api, profile_forget, time_limit=None, yes=True)
    assert api.asked == [("DELETE", "/v2/profile/cookie%3Ac%2F1")], "later messages are not mapped either"
    assert capsys.readouterr().err == "no profile for cookie:c/1\n", "the key may be misspelt"


async def test_forgetting_at_the_limit_of_links_prints_a_notice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    await asked_of(Profiles(complete=False), profile_forget, time_limit=None, yes=True)
    found = capsys.readouterr()
    assert found.out.startswith("deleted: 2 identities, ")
    assert "if it had further identities, delete each of them too" in found.err


async def test_a_deletion_that_takes_longer_is_followed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(profile, "POLL_INTERVAL_SECONDS", 0)
    api = await asked_of(Profiles(polls=3), profile_forget, time_limit=None, yes=True)
    assert api.asked[-3:] == [("GET", f"/v2/forgetting/{ID}")] * 3
    output = capsys.readouterr()
    assert output.out.startswith("deleted: 2 identities, messages up to 2026-02-01 ")
    assert f"entrepot profile forgettings {ID}" in output.err


async def shown(
    capsys: pytest.CaptureFixture[str], api: Profiles, forgetting: str | None, output: Any = "table"
) -> str:
    await profile_forgettings.callback.__wrapped__(Session(api, output), forgetting=forgetting)  # type: ignore[union-attr]  # never None here
    return capsys.readouterr().out


async def test_deletions_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    listed = (await shown(capsys, Profiles(), None)).splitlines()
    assert [row.split()[0] for row in listed] == ["ID", ID, ID]
    assert ("under way" in listed[1], "forgotten" in listed[2]) == (True, True)
    assert yaml.safe_load(await shown(capsys, Profiles(), None, "json")) == [UNDER_WAY, FORGOTTEN]
    ended = [re.split(r"  +", line) for line in (await shown(capsys, Profiles(), ID)).splitlines()]
    assert ended[-3:] == [["identities", "2"], ["profiles", "1"], ["complete", "yes"]]
    assert "waiting for the lanes of messages.backfill/0" in await shown(capsys, Profiles(polls=2), ID)
    assert yaml.safe_load(await shown(capsys, Profiles(), ID, "yaml")) == FORGOTTEN


def test_without_a_terminal_forgetting_needs_yes() -> None:
    refused = CliRunner().invoke(cli, ["profile", "forget", "cookie:c1", "--url", "http://127.0.0.1:9", "--token", "x"])
    assert (refused.exit_code, "--yes" in refused.output) == (2, True)


async def test_a_timeout_ends_the_wait_and_not_the_deletion() -> None:
    with pytest.raises(CommandError, match=f"entrepot profile forgettings {ID}") as raised:
        await asked_of(Profiles(polls=9), profile_forget, time_limit=0, yes=True)
    assert raised.value.exit_code == TIMED_OUT
