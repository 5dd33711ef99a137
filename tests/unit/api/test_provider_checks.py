"""Checks that hang in a thread are bounded, and are left behind."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from app.api.jobs import checks
from app.api.services.admission import MAX_PROBES
from app.api.system import providers
from connectors.contract import Connector, JobType
from connectors.kit.threads import in_thread
from tests.integration.api.rig import Client
from tests.unit.runner.jobs import AnyConfig, reading

PATH = "/v2/provider/hanging/import/validate"


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A provider whose checks hang in a thread until the event is set."""
    released = threading.Event()

    async def check(_config: Any, _limits: Any) -> tuple[()]:
        await in_thread(released.wait, 30)
        return ()

    job_type = JobType("import", "import", "", "", AnyConfig, check, reading())
    monkeypatch.setattr(providers, "connector", lambda _: Connector("hanging", "", "", "", (job_type,)))
    monkeypatch.setattr(checks, "CHECK_TIMEOUT_SECONDS", 0.05)
    yield released
    released.set()


async def test_checks_that_hang_in_a_thread_are_bounded(client: Client, released: threading.Event) -> None:
    for _ in range(MAX_PROBES):
        answer = await client.ask("PUT", PATH, {"configuration": {}})
        assert [error["code"] for error in answer.data["errors"]] == ["provider_timeout"]
    refused = await client.ask("PUT", PATH, {"configuration": {}})
    assert (refused.status, refused.body["code"]) == (429, "too_many_checks")
    released.set()
    while (answer := await client.ask("PUT", PATH, {"configuration": {}})).status == 429:
        pass
    assert answer.data["valid"]
