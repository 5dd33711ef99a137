"""The newest upload of a file of the same name to the same stream is found, unless it was undone."""

from app.api.lanes.backfill_preview import find_duplicate_upload
from app.store.read_store import ReadStore
from schemas.commands import Counts, KillJob
from tests.unit.store.histories import Partition


def uploads() -> Partition:
    partition = Partition()
    for job_id, stream, name in (
        ("old", "orders", "january.csv"),
        ("new", "orders", "january.csv"),
        ("elsewhere", "visits", "january.csv"),
        ("longer", "orders", "old january.csv"),
        ("piped", "orders", "stdin.csv"),
    ):
        configuration = f'{{"filename": "{name}", "stream": "{stream}"}}'
        partition.create(job_id, provider="collect", job_type="bulk_csv", name=name, configuration=configuration)
        partition.later(seconds=1)
        partition.report(job_id)
    configuration = '{"filename": "may.csv", "stream": "orders"}'
    partition.create("broken", provider="collect", job_type="bulk_csv", name="may.csv", configuration=configuration)
    partition.report("broken", counts=Counts(read=1, rejected=1))
    partition.send(KillJob, "new")
    return partition


async def test_the_newest_upload_that_was_not_undone_is_found(store: ReadStore) -> None:
    await store.views.apply(0, uploads().records)

    async def found(filename: str, *undone: str) -> str | None:
        job = await find_duplicate_upload(store, "orders", filename, undone)
        return job and job.job_id

    assert await found("january.csv") == "new", "a killed job counts"
    assert await found("C:\\data\\january.csv", "new") == "old"
    assert await found("january.csv", "new", "old") is None
    assert await found("february.csv") is None
    assert await found("may.csv") is None, "it has no accepted messages"
    assert await found("stdin.csv") is None, "standard input has no name"
    assert await found("") is None
