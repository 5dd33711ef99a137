"""Rebuilds in a terminal: progress, reports, and references to rebuilds."""

from collections.abc import Iterable, Iterator
from itertools import cycle
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from app.cli.client import ApiClient
from app.cli.data.rebuild import job_undo, rebuild_discard, rebuild_list, rebuild_promote, rebuild_show, rebuild_start
from app.cli.data.rebuild_report import print_report, progress_text
from app.cli.exits import CONFLICT, NOT_FOUND, TIMED_OUT, CommandError
from app.cli.main import cli
from app.cli.session import Session

AT = "2026-02-01T10:00:00Z"
ID, OLDER = "fe84a338-a73f-4057-a822-0c28370126eb", "eafa183e-7ec9-4f14-9ee2-cc61bb57f84d"
PROGRESS = {
    "phase": "building", "ratio": 0.42, "messages": 12_345, "messages_per_second": 4_567.8, "eta_seconds": 75.0,
    "waiting_for": [],
}  # fmt: skip
REPORT = {
    "compared_at": AT,
    "skipped_reason": None,
    "equal": False,
    "live": {"profiles": 1_234_570, "digest": "a" * 32},
    "rebuilt": {"profiles": 1_234_569, "digest": "b" * 32},
    "counts": {"unchanged": 1_234_569, "evidence_changed": 2, "changed": 1, "added": 0, "split": 1, "removed": 1},
    "samples": {
        "changed": [
            {
                "profile": "email:ada\x1b[31m@example.com",
                "before": {"identities": ["cookie:1"], "attributes": {"city": "Linz", "tags": ["a"]}},
                "after": {"attributes": {"city": "Graz", "tags": None}},
            }
        ],
        "removed": [{"profile": "email:unknown@example.com", "identities": [], "attributes": {"spent": 7}}],
        "split": [{"profile": "email:eve@example.com", "split_into": ["cookie:1", "cookie:2"]}],
    },
}
REBUILD: dict[str, Any] = {
    "id": ID, "status": "under_way", "note": "why", "started_at": AT, "started_by": "user:ada", "ready_at": None,
    "ended_at": None, "ended_by": "", "generation": None, "live": False, "progress": PROGRESS, "report": None,
    "spec": {"in_words": ["mapping of orders: version 2; active: version 1", "all messages"]},
}  # fmt: skip
READY = REBUILD | {"status": "ready", "ready_at": AT, "report": REPORT}
PROMOTED = READY | {"status": "promoted", "ended_at": AT, "ended_by": "user:eve", "generation": 3}


class Rebuilds(ApiClient):
    """An API with some rebuilds; a rebuild progresses with each request."""

    def __init__(self, known: list[Any], looks: Iterable[Any] | None = None) -> None:
        """Needs no session."""
        self.known = known
        self.looks: Iterator[Any] = iter(looks or known)
        self.sent: list[Any] = []

    async def get(self, path: str, **query: object) -> Any:
        if path == "/v2/job":
            return []
        return self.known if path == "/v2/rebuild" else next(self.looks)

    async def send(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        self.sent.append((path, body))
        return REBUILD if path == "/v2/rebuild" else PROMOTED

    async def request(self, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
        self.sent.append((path, body))
        return {"data": REBUILD, "message": "started; the job is Running"}


async def asked(api: Rebuilds, command: Any, output: Any = "table", **arguments: Any) -> Any:
    return await command.callback.__wrapped__(Session(api, output), **arguments)


async def test_show_has_progress_and_rules(capsys: pytest.CaptureFixture[str]) -> None:
    await asked(Rebuilds([REBUILD]), rebuild_show, rebuild=None)
    output = capsys.readouterr().out
    assert "reading messages, 42 %, 12,345 messages, 4,568/s, ETA 1 min 15 s" in output
    assert "rules       mapping of orders: version 2; active: version 1\n            all messages\n" in output
    assert progress_text(REBUILD | {"progress": None}).startswith("queued (no worker has picked it up)")
    going = PROMOTED | {"progress": PROGRESS | {"phase": "waiting_for_lanes", "waiting_for": ["a/1", "a/2"]}}
    assert progress_text(going) == "waiting for the lanes to switch to its rules, 2 partitions left"


async def test_a_report_counts_profiles_by_difference(capsys: pytest.CaptureFixture[str]) -> None:
    await asked(Rebuilds([READY]), rebuild_show, rebuild=ID[:4])
    output = capsys.readouterr().out
    assert "caught up with live messages" in output
    assert "equal     no" in output
    assert "1,234,567  unchanged\n" in output
    assert "2  same values, different source messages\n" in output
    assert "  added" not in output
    assert 'email:ada\\x1b[31m@example.com  cookie:1; city: Linz, tags: ["a"]  city: Graz, tags: —' in output
    assert "spent: 7" in output
    assert "cookie:1, cookie:2" in output
    print_report({"compared_at": AT, "skipped_reason": "partition unavailable"})
    assert capsys.readouterr().out == "compared  skipped: partition unavailable\n"
    await asked(Rebuilds([PROMOTED | {"report": None}]), rebuild_show, rebuild=None)
    assert "the report has expired" in capsys.readouterr().out
    await asked(Rebuilds([READY]), rebuild_show, "yaml", rebuild=None)
    assert yaml.safe_load(capsys.readouterr().out)["report"]["counts"]["changed"] == 1


async def test_start_can_wait_until_ready(capsys: pytest.CaptureFixture[str]) -> None:
    options: dict[str, Any] = {
        "identity": None, "mappings": ("a=b=2",), "streams": (), "since": None, "until": AT, "all_time": True,
        "exclude_job": ("some-upload",), "include_job": (), "previous": False, "note": None, "time_limit": None,
    }  # fmt: skip
    api = Rebuilds([], [REBUILD, READY])
    assert await asked(api, rebuild_start, **options, wait=True) == 0
    assert api.sent == [
        ("/v2/rebuild", {"mappings": {"a=b": 2}, "since": None, "until": AT, "exclude_jobs": ["some-upload"]})
    ]
    printed = capsys.readouterr()
    assert "status      ready" in printed.out
    assert printed.err == "to make it live: entrepot rebuild promote\n"
    assert await asked(Rebuilds([], [READY | {"status": "discarded"}]), rebuild_start, **options, wait=True) == 1
    with pytest.raises(click.BadParameter):
        await asked(api, rebuild_start, **options | {"mappings": ("orders",)}, wait=False)
    api = Rebuilds([])
    assert await asked(api, job_undo, job="no/job", time_limit=None, wait=False) == 0
    assert api.sent == [("/v2/job/no%2Fjob/undo", None)]
    assert capsys.readouterr().err == "the job is Running\n"


async def test_promote_can_wait_until_live_and_defaults_to_the_one_in_progress(
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = [READY, REBUILD | {"id": OLDER, "status": "discarded"}]
    api = Rebuilds(known, [PROMOTED, PROMOTED | {"live": True}])
    await asked(api, rebuild_promote, rebuild=None, time_limit=None, wait=True)
    assert api.sent == [(f"/v2/rebuild/{ID}/promote", None)]
    output = capsys.readouterr().out
    assert "status      promoted, live" in output
    assert "compared" not in output
    await asked(api, rebuild_discard, rebuild=OLDER[:8])
    assert api.sent[-1] == (f"/v2/rebuild/{OLDER}/discard", None)
    await asked(api, rebuild_list)
    assert "discarded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("known", "command", "reference", "code"),
    [
        ([], rebuild_show, None, NOT_FOUND),
        ([READY], rebuild_show, "fe8", NOT_FOUND),
        ([READY], rebuild_show, "other", NOT_FOUND),
        ([PROMOTED], rebuild_discard, None, CONFLICT),
    ],
)
async def test_a_missing_rebuild_is_reported(known: list[Any], command: Any, reference: str | None, code: int) -> None:
    with pytest.raises(CommandError) as error:
        await asked(Rebuilds(known), command, rebuild=reference)
    assert error.value.exit_code == code


async def test_a_timeout_ends_the_wait_and_not_the_rebuild() -> None:
    for command, arguments in ((job_undo, {"job": "j"}), (rebuild_promote, {"rebuild": ID})):
        api = Rebuilds([REBUILD], cycle([REBUILD]))
        with pytest.raises(CommandError, match="entrepot rebuild show") as raised:
            await asked(api, command, **arguments, time_limit=0, wait=True)
        assert raised.value.exit_code == TIMED_OUT


@pytest.mark.parametrize("arguments", [("rebuild", "start"), ("rebuild", "promote"), ("job", "undo", "j")])
def test_a_timeout_of_a_rebuild_requires_a_wait(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [*arguments, "--timeout", "1s", "--url", "http://127.0.0.1:1"])
    assert (result.exit_code, "--timeout requires --wait" in result.stderr) == (2, True)
