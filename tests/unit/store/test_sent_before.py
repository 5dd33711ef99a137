"""Who is about to send a file learns that one of its name is there already, and counts."""

from app.api.lanes.duplicate_uploads import sent_before
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
        said = f'{{"filename": "{name}", "stream": "{stream}"}}'
        partition.create(job_id, provider="collect", job_type="bulk_csv", name=name, configuration=said)
        partition.later(seconds=1)
        partition.report(job_id)
    said = '{"filename": "may.csv", "stream": "orders"}'
    partition.create("broken", provider="collect", job_type="bulk_csv", name="may.csv", configuration=said)
    partition.report("broken", counts=Counts(read=1, rejected=1))
    partition.send(KillJob, "new")
    return partition


async def test_the_newest_of_that_name_in_that_stream_unless_it_was_undone(store: ReadStore) -> None:
    await store.views.apply(0, uploads().records)

    async def found(filename: str, *undone: str) -> str | None:
        job = await sent_before(store, "orders", filename, undone)
        return job and job.job_id

    assert await found("january.csv") == "new", "what it had brought before it was killed counts"
    assert await found("C:\\data\\january.csv", "new") == "old"
    assert await found("january.csv", "new", "old") is None
    assert await found("february.csv") is None
    assert await found("may.csv") is None, "nothing of it was taken"
    assert await found("stdin.csv") is None, "that is no name"
    assert await found("") is None
