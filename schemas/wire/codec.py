"""Encode and decode records: Avro in the Confluent wire format (`0x00`, a 4-byte big-endian schema ID, the body).

Old versions are read with their writer schema and resolved to the newest one by the rules of Avro (new fields have
defaults). Other changes need an upcaster in `UPCASTERS`, which converts the decoded old record to the newest version.
"""

import struct
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Final, cast

from fastavro import schemaless_reader, schemaless_writer
from fastavro.read import SchemaResolutionError

from schemas.access import AccessRecord
from schemas.commands import JobCommand
from schemas.definitions import DefinitionCommand, DefinitionEvent
from schemas.events import JobEvent
from schemas.messages import MessageRecord
from schemas.updates import Update
from schemas.wire.avro_types import from_avro, to_avro
from schemas.wire.catalog import UnreadableRecordError, newest, version_of

WireRecord = JobCommand | JobEvent | MessageRecord | Update | DefinitionCommand | DefinitionEvent | AccessRecord
Upcast = Callable[[dict[str, Any]], dict[str, Any]]

MAGIC: Final = 0
FRAME: Final = struct.Struct(">bI")

UNREADABLE: Final = (
    EOFError, ValueError, IndexError, TypeError, KeyError, OverflowError, MemoryError, SchemaResolutionError,
)  # fmt: skip

UPCASTERS: Final[Mapping[int, Upcast]] = {}


def encode(record: WireRecord) -> bytes:
    """Encode a record with its newest schema."""
    version = newest()[type(record)]
    buffer = BytesIO()
    buffer.write(FRAME.pack(MAGIC, version.id))
    schemaless_writer(buffer, version.parsed, to_avro(record))
    return buffer.getvalue()


def schema_id_of(data: bytes) -> int:
    """Return the schema ID of the frame.

    Raises:
        UnreadableRecordError: the bytes have no Confluent frame.

    """
    if len(data) < FRAME.size:
        raise UnreadableRecordError("record_too_short", {"bytes": len(data)})
    magic, schema_id = FRAME.unpack_from(data)
    if magic != MAGIC:
        raise UnreadableRecordError("record_not_framed", {"found": f"{data[0]:#04x}"})
    return cast("int", schema_id)


def decode(data: bytes) -> WireRecord:
    """Decode a record, upgraded to its newest version.

    Raises:
        UnreadableRecordError: invalid frame or body, trailing bytes, or an unknown schema.

    """
    version = version_of(schema_id_of(data))
    buffer = BytesIO(data)
    buffer.seek(FRAME.size)
    upcast = UPCASTERS.get(version.id)
    try:
        fields = schemaless_reader(buffer, version.parsed, None if upcast else newest()[version.record_type].parsed)
        record = from_avro(version.record_type, upcast(fields) if upcast else fields)
    except UNREADABLE as error:
        raise UnreadableRecordError(
            "unreadable_body", {"schema": version.name, "version": version.version}, detail=str(error)
        ) from error
    if buffer.tell() != len(data):
        raise UnreadableRecordError("trailing_bytes", {"bytes": len(data) - buffer.tell(), "schema": version.name})
    return cast("WireRecord", record)
