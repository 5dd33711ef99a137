"""A run opens the secrets of its job, and nothing that it writes or logs shows them."""

from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.kafka.producer_record import ProducerRecord
from app.runner import run as module
from app.runner.run import Run
from app.vault.cipher import MASTER_KEY_BYTES, MasterKey
from app.vault.master_key import KeyRing, create_master_key, read_key_ring
from app.vault.sealed_json import job_owner, seal_secrets
from app.vault.secret import Secret
from connectors.contract import Batch, FixConfiguration, RateLimited, Reject, RetryLater
from connectors.redaction import redact_credentials
from projections.jobs.state import Job
from schemas.commands import ReportError, ReportProgress, ReportRateLimit
from schemas.json_values import canonical_json
from tests.canary import CANARY, QUOTED, found_in
from tests.unit.runner.jobs import batch, job, run_context, twin

KEY = MasterKey(Secret(b"k" * MASTER_KEY_BYTES))
SOURCES = [
    f"https://user:{QUOTED}@host/people.csv",
    f"https://host/people.csv?sv=1&sig={QUOTED}",
    f" https://{CANARY}@host/people.csv",
    f"get https://user:{CANARY}@host/people.csv?key={QUOTED} first",
    f"https://user:{CANARY}@host/",
]

Read = Callable[..., AsyncIterator[Batch]]


def sealed_job(source: str, owner: str = "orders") -> Job:
    plain = {"source": source}
    sealed = seal_secrets(plain, redact_credentials(plain), KEY.sealing_key, job_owner(owner))
    return job(configuration=canonical_json(sealed))


async def written(
    monkeypatch: pytest.MonkeyPatch, sealed: Job, read: Read, read_keys: Callable[[], KeyRing] | None = None
) -> tuple[bytes, Any]:
    """Return the bytes of all records of a run, and its last report."""
    records: list[ProducerRecord] = []

    async def submit(submitted: Sequence[ProducerRecord]) -> None:
        records.extend(submitted)

    monkeypatch.setattr(module, "connector", twin(read))
    context = run_context(partitions=4, read_keys=read_keys or (lambda: KeyRing({KEY.key_id: KEY})))
    last = await Run(sealed, context, submit).drive()
    return b"".join((record.value or b"") + repr(record.headers).encode() for record in records), last


def raising(error: Callable[[str], Exception]) -> Read:
    async def read(config: Any, _cursor: Any, _limits: Any) -> AsyncIterator[Batch]:
        yield batch()
        raise error(config.source)

    return read


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    "error",
    [
        lambda source: RetryLater(
            "unreadable", {"source": source}, detail=f"can't open {source}: wrong password {CANARY}"
        ),
        lambda source: FixConfiguration("not_found", {"url": ["", source], "reason": f"token {CANARY} is unknown"}),
        lambda source: RateLimited("rate_limited", {"url": f"at {source}", "status": 429}, retry_after=1),
        lambda source: ValueError(f"{source} is wrong: {CANARY}"),
    ],
    ids=["retry", "fix", "rate limit", "bug"],
)
async def test_errors_show_no_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, source: str, error: Callable[[str], Exception]
) -> None:
    data, last = await written(monkeypatch, sealed_job(source), raising(error))
    assert isinstance(last, ReportError | ReportRateLimit)
    assert found_in(data) == []
    assert found_in(caplog.text.encode()) == []


@pytest.mark.parametrize("source", SOURCES)
async def test_sources_and_rejects_of_batches_show_no_secret(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    received: list[str] = []

    async def read(config: Any, _cursor: Any, _limits: Any) -> AsyncIterator[Batch]:
        received.append(config.source)
        reject = Reject(
            "row 1", "bad_text", {"value": f"{config.source} {CANARY}"}, b"excerpt", f"{CANARY}: {config.source}"
        )
        yield batch(source=config.source, rejects=(reject,), read=3)

    data, last = await written(monkeypatch, sealed_job(source), read)
    assert received == [source], "the connector gets the secret"
    assert isinstance(last, ReportProgress)
    assert found_in(data) == []


async def test_a_missing_master_key_is_named_and_restoring_it_suffices(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "master-key"
    for content in (None, b64encode(b"other".ljust(MASTER_KEY_BYTES))):
        if content:
            create_master_key(path)
            path.write_bytes(content)
        _, last = await written(monkeypatch, sealed_job(SOURCES[0]), raising(ValueError), lambda: read_key_ring(path))
        assert (last.code, last.params, last.fault) == ("master_key_missing", {"key": KEY.key_id}, "entrepot")
        assert last.advice == "retry", "the operator can restore it"
    path.write_bytes(b64encode(b"k" * MASTER_KEY_BYTES))
    _, last = await written(monkeypatch, sealed_job(SOURCES[0]), reading_once, lambda: read_key_ring(path))
    assert isinstance(last, ReportProgress)


async def reading_once(_config: Any, _cursor: Any, _limits: Any) -> AsyncIterator[Batch]:
    yield batch()


async def test_an_unreadable_master_key_is_an_error_of_the_job(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "master-key"
    create_master_key(path)
    path.chmod(0o644)
    _, last = await written(monkeypatch, sealed_job(SOURCES[0]), reading_once, lambda: read_key_ring(path))
    assert (last.code, last.params, last.advice) == ("master_key_unreadable", {}, "retry")
    assert str(path) in caplog.text


async def test_a_secret_of_another_job_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    _, last = await written(monkeypatch, sealed_job(SOURCES[0], owner="another"), reading_once)
    assert (last.code, last.params, last.advice) == ("secret_unreadable", {"pointer": "/source"}, "fix_configuration")
