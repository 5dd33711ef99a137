"""Local sources: only files in the allowed directories can be read."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from app.sentences.sentence import sentence_of
from connectors.contract import FixConfiguration, Limits, RetryLater
from connectors.kit.local_source import open_local
from connectors.providers.file import Config, check, read


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    (directory / "inner").mkdir(parents=True)
    (directory / "inner" / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    return directory


async def rejection(source: str, *roots: Path) -> str:
    with pytest.raises(FixConfiguration) as error:
        await open_local(source, Limits(file_roots=roots), 0, None)
    return error.value.code


async def test_a_file_is_opened_by_relative_or_absolute_path(root: Path) -> None:
    for source in ("inner/a.csv", str(root / "inner" / "a.csv"), "inner/./a.csv"):
        opened = await open_local(source, Limits(file_roots=(root.parent / "gone", root)), 0, None)
        assert await opened.read(100) == b"a,b\n1,2\n"
        assert await opened.read(100) == b""
        await opened.close()


async def test_paths_outside_reveal_nothing(root: Path) -> None:
    for source in (str(root.parent / "secret.csv"), str(root.parent / "gone.csv"), "/etc/passwd", "/root/x", "/"):
        assert await rejection(source, root) == "forbidden_path"
    for source in ("../secret.csv", "inner/../../secret.csv", "a\0b", str(root / ".." / "secret.csv")):
        assert await rejection(source, root) == "forbidden_path"


async def test_messages_explain_how_to_allow_a_directory_without_listing_them(root: Path) -> None:
    for source, roots in (("gone.csv", (root,)), ("/etc/passwd", (root,)), ("a.csv", ())):
        with pytest.raises(FixConfiguration) as error:
            await open_local(source, Limits(file_roots=roots), 0, None)
        assert "`entrepot up --files DIRECTORY` or ENTREPOT_FILE_ROOTS" in sentence_of(error.value)
        assert str(root) not in sentence_of(error.value)


async def test_symbolic_links_must_stay_inside(root: Path) -> None:
    (root / "out.csv").symlink_to(root.parent / "secret.csv")
    (root / "outdir").symlink_to(root.parent)
    (root / "in.csv").symlink_to("inner/a.csv")
    (root / "round.csv").symlink_to("round.csv")
    assert await rejection("out.csv", root) == "forbidden_path"
    assert await rejection("outdir/secret.csv", root) == "forbidden_path"
    assert await rejection("round.csv", root) in {"unreadable", "file_not_found"}
    await (await open_local("in.csv", Limits(file_roots=(root,)), 0, None)).close()


async def test_only_regular_files_are_opened_and_a_pipe_does_not_block(root: Path) -> None:
    os.mkfifo(root / "pipe.csv")
    assert await rejection("pipe.csv", root) == "not_a_file"
    assert await rejection("inner", root) == "not_a_file"
    assert await rejection(".", root) == "not_a_file"


async def test_the_code_names_the_problem(root: Path) -> None:
    assert await rejection("gone.csv", root) == "file_not_found"
    assert await rejection("inner/a.csv/b.csv", root) == "file_not_found"
    assert await rejection("x" * 300, root) == "unreadable"
    assert await rejection("inner/a.csv") == "no_file_roots"


async def test_appending_is_allowed_during_reading_and_changes_are_retried(root: Path) -> None:
    path = root / "inner" / "a.csv"
    opened = await open_local("inner/a.csv", Limits(file_roots=(root,)), 0, None)
    assert await opened.read(4) == b"a,b\n"
    with path.open("a") as file:
        file.write("3,4\n")
    assert await opened.read(100) == b"1,2\n3,4\n"
    path.write_text("a,b\n")
    with pytest.raises(RetryLater, match="source_changing"):
        await opened.read(100)
    await opened.close()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("iterations", range(4))  # of the event loop; an open needs more
async def test_a_cancelled_open_leaks_no_descriptor(root: Path, iterations: int) -> None:
    before = descriptors()
    opening = asyncio.create_task(open_local("inner/a.csv", Limits(file_roots=(root,)), 0, None))
    for _ in range(iterations):
        await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert descriptors() == before


async def test_closing_a_reader_early_leaks_no_descriptor(root: Path) -> None:
    (root / "big.csv").write_text("a,b\n" + "1,2\n" * 10_000)
    before = descriptors()
    batches = read(Config(source="big.csv", stream="s"), {}, Limits(file_roots=(root,), batch_bytes=1000))
    assert (await anext(batches)).count > 0
    assert descriptors() > before
    await batches.aclose()
    assert descriptors() == before


async def test_appended_rows_are_read_and_a_changed_file_is_rejected(root: Path) -> None:
    limits = Limits(file_roots=(root,))
    config = Config(source="big.csv", stream="s")
    path = root / "big.csv"
    path.write_text("a,b\n" + "1,2\n" * 100_000)  # large enough to seek in
    cursor = [batch.cursor async for batch in read(config, {}, limits)][-1]
    assert [batch async for batch in read(config, cursor, limits)] == []
    with path.open("a") as file:
        file.write("3,4\n")
    (batch,) = [batch async for batch in read(config, cursor, limits)]
    assert (batch.payload, batch.first_row, batch.bytes_read) == (b'{"a":"3","b":"4"}\n', 100_001, 4)
    for changed in ("9" + path.read_text()[1:], path.read_text()[:-1000], "a,b\n1,2\n"):
        path.write_text(changed)
        with pytest.raises(FixConfiguration) as error:
            [batch async for batch in read(config, cursor, limits)]
        assert error.value.code == "source_changed"


async def test_a_check_names_the_invalid_field(root: Path) -> None:
    (root / "semi.csv").write_text("a;b\n1;2\n")
    (root / "late.csv").write_text("at,b\n2999-01-01,2\n2999-01-02,3\n")
    (root / "plain.csv.gz").write_text("a,b\n")
    (root / "odd.bin").write_text("a,b\n")
    (root / "utf16.csv").write_bytes("a,b\n1,2\n".encode("utf-16"))
    (root / "twice.csv").write_text("a,a\n")
    (root / "lines.json").write_text('{"a":1}\n')
    (root / "cut.ndjson").write_text("a,b\n1,2\n")
    limits = Limits(file_roots=(root,))

    async def problem(source: str, **more: Any) -> tuple[str, str] | None:
        problems = await check(Config(source=source, stream="s", **more), limits)
        return (problems[0].field, problems[0].code) if problems else None

    assert await problem("inner/a.csv") is None
    assert await problem("gone.csv") == ("/source", "file_not_found")
    assert await problem("odd.bin") == ("/format", "unknown_format")
    assert await problem("semi.csv") == ("/delimiter", "one_column")
    assert await problem("inner/a.csv", timestamp_field="at") == ("/timestamp_field", "unknown_timestamp_field")
    assert await problem("inner/a.csv", timestamp_field="a") == ("/timestamp_format", "all_records_rejected")
    assert await problem("late.csv", timestamp_field="at") == ("/timestamp_format", "all_records_rejected")
    assert await problem("plain.csv.gz") is None
    assert await problem("plain.csv.gz", compression="gzip") == ("/compression", "wrong_compression")
    assert await problem("utf16.csv") == ("/encoding", "utf_16_mark")
    assert await problem("twice.csv") == ("/fields", "duplicate_header")
    assert await problem("lines.json") == ("/format", "not_an_array_of_objects")
    assert await problem("cut.ndjson") == ("/format", "all_records_rejected")
