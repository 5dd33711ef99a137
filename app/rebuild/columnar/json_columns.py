"""Fields of many JSON messages as columns of distinct values, or None where the lanes' parser might differ.

Arrow parses JSON on all cores, without Python objects for unused fields. It accepts some invalid JSON and infers other
types in a few cases. All of them are detected; for None, the caller parses the messages one by one.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.json

from schemas.json_values import MAX_JSON_DEPTH

CHUNK_BYTES: Final = 512 * 1024
BLOCK_BYTES: Final = 4 * 1024 * 1024  # read by one thread
MAX_TYPE_SAMPLE: Final = 100  # messages, for the type of a field
LENIENT: Final = re.compile(rb"[:\[,\s]-?(?:NaN|Inf)")  # numbers that only Arrow accepts
SIGNS: Final = (b"NN", b"If")  # their first and third letters: cheaper to search for
LINE_FEED, OPENING_BRACE, CLOSING_BRACE, OPENING_BRACKET = b"\n{}["
TYPES: Final[Mapping[type, Any]] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class JsonColumn:
    """Distinct values, and the index of the value of each message, -1 where the field is null or missing.

    In a column with floats, integers are floats, too.
    """

    values: Sequence[Any]
    codes: Numbers


def read_columns(payload: bytes, count: int, names: Iterable[str]) -> Mapping[str, JsonColumn] | None:
    """Return fields of `count` messages, one JSON object a line; None when Arrow might parse them differently."""
    if not _is_sound(payload, count):
        return None
    types = _types(_first_lines(payload), names)
    if types is None:
        return None
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(payload),
            read_options=pyarrow.json.ReadOptions(block_size=BLOCK_BYTES),
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=pa.schema(list(types.items())), unexpected_field_behavior="ignore"
            ),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != count:
        return None
    return {name: _column(table.column(name)) for name in types}


def _is_sound(payload: bytes, count: int) -> bool:
    """Return whether each line is one object, in UTF-8, not too deep, and with valid numbers."""
    lines = 0
    for piece in _pieces(payload):
        content = np.frombuffer(piece, np.uint8)
        ends = np.flatnonzero(content == LINE_FEED)
        lines += ends.size
        if (
            not _are_objects(content, ends)
            or (_may_be_lenient(content) and LENIENT.search(piece))
            or not _is_text(piece)
        ):
            return False
    return lines == count


def _pieces(payload: bytes) -> Iterator[memoryview]:
    """Cut lines into pieces that fit in a processor's cache."""
    begin, whole = 0, memoryview(payload)
    while begin < len(payload):
        end = payload.find(b"\n", begin + CHUNK_BYTES) + 1 or len(payload)
        yield whole[begin:end]
        begin = end


def _are_objects(content: npt.NDArray[np.uint8], ends: Numbers) -> bool:
    begins = np.concatenate([[0], ends[:-1] + 1])
    if (
        content[-1] != LINE_FEED
        or not (content[begins] == OPENING_BRACE).all()
        or not (content[ends - 1] == CLOSING_BRACE).all()
    ):
        return False
    opening = (content == OPENING_BRACE) | (content == OPENING_BRACKET)
    if np.count_nonzero(opening) <= ends.size + MAX_JSON_DEPTH:
        return True
    return bool(np.add.reduceat(opening, begins, dtype=np.int64).max() <= MAX_JSON_DEPTH)


def _may_be_lenient(content: npt.NDArray[np.uint8]) -> bool:
    signs = ((np.flatnonzero(content[:-2] == first) + 2, last) for first, last in SIGNS)
    return any(bool((content[indices] == last).any()) for indices, last in signs)


def _is_text(piece: memoryview) -> bool:
    try:
        str(piece, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _first_lines(payload: bytes) -> Iterator[bytes]:
    begin = 0
    for _ in range(MAX_TYPE_SAMPLE):
        end = payload.find(b"\n", begin)
        if end < 0:
            return
        yield payload[begin:end]
        begin = end + 1


def _types(lines: Iterable[bytes], names: Iterable[str]) -> Mapping[str, Any] | None:
    """Return the Arrow type of each field in the first messages."""
    wanted, types = set(names), dict[str, Any]()
    for line in lines:
        if len(types) == len(wanted):
            break
        try:
            message = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        for name in wanted - types.keys():
            value = message.get(name)
            if value is None:
                continue
            if type(value) not in TYPES:
                return None
            types[name] = TYPES[type(value)]
    return types | dict.fromkeys(wanted - types.keys(), pa.string())


def _column(column: Any) -> JsonColumn:
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return JsonColumn(encoded.dictionary.to_pylist(), codes)
