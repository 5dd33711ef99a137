"""RocksDB options of the partition stores, and SST files for bulk ingest."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, SstFileWriter, WriteBufferManager

MEBIBYTE: Final = 1024 * 1024
CACHE_BYTES: Final = 32 * MEBIBYTE  # of one process, for all its stores
WRITE_BUFFER_BYTES: Final = 48 * MEBIBYTE  # of one process, for all its stores
LOG_BYTES: Final = 64 * MEBIBYTE  # replayed at most by a start after a crash
SST_BYTES: Final = 32 * MEBIBYTE
BUFFERS: Final = {"nodes": 12 * MEBIBYTE, "seen": 4 * MEBIBYTE, "refs": 4 * MEBIBYTE, "meta": MEBIBYTE}


@cache
def _shared() -> tuple[Cache, WriteBufferManager]:
    """Return the caches that all stores of this process share, so that memory does not depend on their number."""
    return Cache(CACHE_BYTES), WriteBufferManager(WRITE_BUFFER_BYTES, allow_stall=False)


def options_of(family: str) -> Options:
    """Return the options of a column family; docs/decisions/006-profiles-in-rocksdb.md has the reasons."""
    block_cache, write_buffers = _shared()
    options = Options(raw_mode=True)
    options.create_if_missing(create_if_missing=True)
    options.create_missing_column_families(create_missing_cfs=True)
    options.set_write_buffer_manager(write_buffers)
    options.set_write_buffer_size(BUFFERS[family])
    options.set_max_write_buffer_number(3)
    options.set_memtable_prefix_bloom_ratio(0.1)  # halves the cost of a missing key
    options.set_memtable_whole_key_filtering(whole_key_filter=True)
    options.set_max_total_wal_size(LOG_BYTES)
    options.set_max_background_jobs(2)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_target_file_size_base(SST_BYTES)
    options.set_max_bytes_for_level_base(4 * SST_BYTES)
    options.set_level_zero_file_num_compaction_trigger(20)  # files are small, and each compaction rewrites them all
    options.set_level_zero_slowdown_writes_trigger(40)
    options.set_level_zero_stop_writes_trigger(64)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(MEBIBYTE)
    options.set_stats_dump_period_sec(0)
    table = BlockBasedOptions()
    table.set_block_cache(block_cache)
    table.set_bloom_filter(10, block_based=False)
    options.set_block_based_table_factory(table)
    return options


def write_files(family: str, nodes: Iterable[tuple[bytes, bytes]], folder: Path) -> tuple[list[Path], int]:
    """Write sorted rows to files of about `SST_BYTES` each; return the files and the number of rows."""
    files: list[Path] = []
    writer: SstFileWriter | None = None
    rows = 0
    last = b""
    for key, value in nodes:
        if rows and key <= last:
            raise ValueError(f"nodes to ingest must be in ascending order, but {key!r} came after {last!r}")
        if writer is None:
            files.append(folder / f"{len(files):06}.sst")
            writer = SstFileWriter(options_of(family))
            writer.open(str(files[-1]))
        writer[key] = value
        last = key
        rows += 1
        if rows % 1000 == 0 and writer.file_size() >= SST_BYTES:
            writer.finish()
            writer = None
    if writer is not None:
        writer.finish()
    return files, rows
