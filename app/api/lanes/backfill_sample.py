"""A small part of a file, tried before all of it is sent: how it maps, and what it would do to profiles."""

from array import array
from dataclasses import dataclass, field
from typing import Any, Final

from app.api.collect.upload_counts import UploadCounts
from app.api.http.problems import ApiProblem, problem_of
from app.api.http.request_body import RequestSource, too_large
from app.profiles.lookup_client import GenerationReader, PartitionUnavailable
from app.sentences.sentence import sentence, sentence_of
from connectors.contract import Batch, ConnectorError, Limits
from connectors.providers.collect import PROVIDER, Config, read_upload
from projections.definitions.compiled_rules import CompiledRules, is_forgotten
from projections.mapping.raw_messages import UnreadableMessageError, parse
from projections.profiles.identity_node import Node
from projections.profiles.impact import Impact, impact_of
from projections.profiles.updates import Group, MappedMessages
from schemas.topics import FUTURE_BOUND_MS

MAX_SAMPLE_BYTES: Final = 4 * 1024 * 1024
MAX_TRIED_MESSAGES: Final = 1_000
AT_ONCE: Final = 1_000  # keys that an owner is asked for
BATCH: Final = "plan/1"  # the first half of the ids that the messages have here
USE_A_PART: Final = ": send a part of it, such as the first thousand lines, and say with `messages` how many there are"


@dataclass(slots=True)
class BackfillSample:
    """What a body holds: counts of all, and the first messages with the times that the file says."""

    tally: UploadCounts = field(default_factory=UploadCounts)
    lines: list[bytes] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)  # microseconds since 1970 UTC; none without a timestamp field

    def take(self, batch: Batch) -> None:
        """Add a batch."""
        room = MAX_TRIED_MESSAGES - len(self.lines)
        self.tally.add(batch)
        self.lines += batch.payload.splitlines()[:room]
        self.stamps += array("q", batch.timestamps)[:room]


@dataclass(slots=True)
class MappingTrial:
    """What became of the messages of a sample. `times` are of those that count, in microseconds since 1970 UTC."""

    mapped: MappedMessages = field(default_factory=MappedMessages)
    times: list[int] = field(default_factory=list)
    undated: int = 0
    nobody: int = 0
    future: int = 0
    out_of_scope: int = 0
    forgotten: int = 0
    faults: list[tuple[str, str, int, str]] = field(default_factory=list)  # part, code, messages, example


async def read_sample(config: Config, limits: Limits, source: RequestSource) -> BackfillSample:
    """Return what a body holds.

    Raises:
        Problem: it can't be read, or it is no small part.

    """
    sample, size = BackfillSample(), 0
    try:
        async for batch in read_upload(config, {}, limits, source):
            sample.take(batch)
            size += batch.bytes_read
            if size > MAX_SAMPLE_BYTES:
                raise too_large(MAX_SAMPLE_BYTES, USE_A_PART)
    except ConnectorError as error:
        raise problem_of(400, error, provider=PROVIDER) from error
    if not sample.lines:
        rejects = sample.tally.first[:1]
        why = "".join(f"; {reject.position}: {sentence(reject.code, reject.params, PROVIDER)}" for reject in rejects)
        raise ApiProblem(400, "no_messages", f"the sample has no valid message{why}")
    return sample


def tried(sample: BackfillSample, book: CompiledRules, stream: str, now: int) -> MappingTrial:
    """Return what the rules make of a sample that would come in now; nothing of a stream without a mapping."""
    found, mapper = MappingTrial(), book.mapper(stream)
    if mapper is None:
        return found
    group = Group(stream, mapper.columns, 0, [BATCH])
    found.mapped.groups.append(group)
    for index, line in enumerate(sample.lines):
        try:
            mapped = mapper.map(parse(line), sample.stamps[index] if sample.stamps else now)
        except UnreadableMessageError as error:
            found.faults.append(("message", error.code, 1, sentence_of(error)))
            continue
        if mapped is None:
            found.nobody += 1
            continue
        key, links, at, values = mapped
        if _counts(found, book, (key, *links), at, now):
            found.times.append(at)
            found.undated += at == now and not sample.stamps
            group.rows.append([key, at, 0, index, 0, *values])
            found.mapped.links += [(link, key, at, BATCH, index) for link in links]
    found.faults += [(part, code, count, example) for (part, code), (count, example, _) in mapper.take_faults().items()]
    return found


def _counts(found: MappingTrial, book: CompiledRules, keys: tuple[str, ...], at: int, now: int) -> bool:
    if at > now + FUTURE_BOUND_MS * 1_000:
        found.future += 1
    elif not book.scope.takes(at):
        found.out_of_scope += 1
    elif is_forgotten(book.rules.forgotten, keys, at):
        found.forgotten += 1
    else:
        return True
    return False


async def foreseen(look: GenerationReader, found: MappingTrial, max_identities: int) -> Impact:
    """Return what would become of the profiles that are live.

    Raises:
        PartitionUnavailable: they can't be asked now.

    """
    nodes: dict[str, Node] = {}
    wanted = sorted({*found.mapped.target_keys(), *(each[1] for each in found.mapped.links)})
    asked: set[str] = set()
    while wanted:
        known: list[Any] = []
        for begin in range(0, len(wanted), AT_ONCE):
            known += [each for each in await look.nodes(wanted[begin : begin + AT_ONCE]) if each is not None]
        asked.update(wanted)
        nodes |= {each.key: each for each in known}
        wanted = sorted({each.parent for each in known if each.parent} - asked)
    if any(each.parent and each.parent not in nodes for each in nodes.values()):
        raise PartitionUnavailable("identities are being brought together")
    return impact_of(found.mapped, nodes, max_identities)
