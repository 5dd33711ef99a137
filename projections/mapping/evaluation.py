"""Map messages by the bodies of rules: plain values in and out, which can be sent to another process."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson

from projections.mapping.mapper import Mapped, Mapper, make_mapper
from projections.mapping.mapping import NO_IDENTITY, parse_identity, parse_mapping
from projections.mapping.preview import MappingPreview, PreviewFault, preview
from projections.mapping.raw_messages import RawMessage, UnreadableMessageError, parse_message
from schemas.instants import moment
from schemas.topics import FUTURE_BOUND_MS

MAX_MAPPERS: Final = 10  # in memory


@dataclass(frozen=True, slots=True)
class MappingSource:
    """The JSON bodies of a stream's mapping and of the identity rules; the latter is empty if there are none."""

    stream: str
    mapping: str
    identity: str


@dataclass(frozen=True, slots=True)
class MappedSample:
    """The result for each message, which is None without an identity; and the faults, as `Mapper.drain_faults`.

    `blocked` has the blocked identities of each message: kind and folded value.
    """

    columns: tuple[str, ...]
    results: Sequence[Mapped | UnreadableMessageError | None]
    faults: Mapping[tuple[str, str], Sequence[Any]]
    blocked: Sequence[Sequence[tuple[str, str]]]


@lru_cache(MAX_MAPPERS)
def mapper_of(source: MappingSource) -> Mapper:
    """Return the mapper of valid bodies."""
    identity = parse_identity(orjson.loads(source.identity)) if source.identity else NO_IDENTITY
    return make_mapper(source.stream, parse_mapping(orjson.loads(source.mapping)), identity)


def map_messages(source: MappingSource, messages: Iterable[tuple[bytes, int]]) -> MappedSample:
    """Map lines with their default event times."""
    mapper = mapper_of(source)
    results, blocked = [], []
    for line, at in messages:
        results.append(_mapped(mapper, line, at))
        blocked.append(tuple(mapper.drain_blocked()))
    return MappedSample(mapper.columns, results, mapper.drain_faults(), blocked)


def preview_messages(
    source: MappingSource, messages: Iterable[RawMessage], max_bytes: int
) -> list[MappingPreview | UnreadableMessageError]:
    """Preview messages, up to `max_bytes` of attributes in JSON."""
    mapper = mapper_of(source)
    previews: list[MappingPreview | UnreadableMessageError] = []
    size = 0
    for message in messages:
        mapped = _preview(mapper, message)
        if isinstance(mapped, MappingPreview):
            size += len(orjson.dumps(mapped.attributes))
        if size > max_bytes:
            break
        previews.append(mapped)
    return previews


def _mapped(mapper: Mapper, line: bytes, at: int) -> Mapped | UnreadableMessageError | None:
    try:
        return mapper.map(parse_message(line), at)
    except UnreadableMessageError as error:
        return error


def _preview(mapper: Mapper, message: RawMessage) -> MappingPreview | UnreadableMessageError:
    try:
        mapped = preview(mapper, parse_message(message.line), message.at, message.batch, message.index)
    except UnreadableMessageError as error:
        return error
    if mapped.at <= message.arrived + FUTURE_BOUND_MS * 1_000:
        return mapped
    future = PreviewFault("timestamp", "future_timestamp", moment(mapped.at).isoformat())
    return MappingPreview(mapped.at, (), {}, (*mapped.faults, future))
