"""Find the newest upload of a file name to a stream that was not undone."""

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
        partition.advance(seconds=1)
        partition.report(job_id)
    configuration = '{"filename": "may.csv", "stream": "orders"}'
    partition.create("broken", provider="collect", job_type="bulk_csv", name="may.csv", configuration=configuration)
    partition.report("broken", counts=Counts(read=1, rejected=1))
    partition.send(KillJob, "new")
    return partition


async def test_the_newest_upload_that_was_not_undone_is_found(store: ReadStore) -> None:
    await store.views.apply(0, uploads().records)

    async def duplicate_of(filename: str, *undone: str) -> str | None:
        job = await find_duplicate_upload(store, "orders", filename, undone)
        return job and job.job_id

    assert await duplicate_of("january.csv") == "new", "a killed job counts"
    assert await duplicate_of("C:\\data\\january.csv", "new") == "old"
    assert await duplicate_of("january.csv", "new", "old") is None
    assert await duplicate_of("february.csv") is None
    assert await duplicate_of("may.csv") is None, "it has no accepted messages"
    assert await duplicate_of("stdin.csv") is None, "standard input has no name"
    assert await duplicate_of("") is None
