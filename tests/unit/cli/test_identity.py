"""`entrepot identity findings` and `block`."""

from typing import Any

import click
import pytest

from app.cli.data.definitions import identity_block, identity_findings
from app.cli.session import Session

BODY = {"kinds": [{"kind": "email", "rank": 0, "blocked_values": ["x@y.example"]}], "blocked_values": ["null"]}
FINDING = {
    "type": "fan_in", "identity": "email:info@shop.example", "profile": "email:info@shop.example", "links": 51,
    "limit": 50, "since": "2026-05-01T10:00:50Z", "blocked": False,
}  # fmt: skip


class Rules:
    """An API with identity rules."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def get(self, path: str) -> Any:
        rules = {"id": "identity", "version": 3, "draft": None, "applied": {"version": 3, "body": BODY}}
        return [FINDING] if path == "/v2/finding" else rules

    async def send(self, method: str, path: str, body: Any, *, headers: Any) -> Any:
        self.sent.append((method, path, body, headers))
        return {"id": "identity", "applied_version": 3, "draft_version": 4}


async def asked(command: Any, api: Any, **arguments: Any) -> None:
    await command.callback.__wrapped__(Session(api, "table"), **arguments)


async def test_findings_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    await asked(identity_findings, Rules())
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["IDENTITY", "LINKS", "LIMIT", "SINCE", "BLOCKED", "PROFILE"]
    assert row.split()[:4] == ["email:info@shop.example", "51", "50", "2026-05-01"]
    assert row.split()[6:] == ["no", "email:info@shop.example"]


async def test_a_blocked_identity_is_a_draft(capsys: pytest.CaptureFixture[str]) -> None:
    api = Rules()
    await asked(identity_block, api, key="email:info@shop.example")
    ((method, path, body, headers),) = api.sent
    assert (method, path, headers) == ("PUT", "/v2/definition/identity/draft", {"If-Match": '"3"'})
    kind = {"kind": "email", "rank": 0, "blocked_values": ["info@shop.example", "x@y.example"]}
    assert body == {"kinds": [kind], "blocked_values": ["null"]}
    assert "draft: version 4" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["phone:7", "email:", "info@shop.example"])
async def test_only_values_of_known_types_are_blocked(key: str) -> None:
    api = Rules()
    with pytest.raises(click.BadParameter):
        await asked(identity_block, api, key=key)
    assert api.sent == []
