"""How a profile looks to people: attributes with the message behind each, identities, and the links between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from projections.profiles.crdt import Cells, Stamp, value_of
from projections.profiles.identity_node import BETWEEN, Edges
from projections.profiles.partitioning import RANK_CHARACTERS


@dataclass(frozen=True, slots=True)
class Evidence:
    """The message behind something: its time in microseconds since 1970 UTC, its id, and the job that brought it."""

    at: int
    message_id: str
    job_id: str | None


@dataclass(frozen=True, slots=True)
class AttributeValue:
    """One attribute of a profile."""

    name: str
    merge: str
    value: Any
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class NamedTogether:
    """Two identities, and the first message that named both."""

    one: str
    other: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Profile:
    """All that is known of somebody; `key` is the best identity."""

    key: str
    identities: tuple[str, ...]
    attributes: tuple[AttributeValue, ...]
    links: tuple[NamedTogether, ...]


def profile_of(key: str, cells: Cells, edges: Edges) -> Profile:
    """Return the profile that the root `key` (ranked) holds."""
    keys = sorted({key, *(each for edge in edges for each in edge.split(BETWEEN))})
    return Profile(
        key=shown_key(key),
        identities=tuple(shown_key(each) for each in keys),
        attributes=tuple(_attribute(name, cell) for name, cell in sorted(cells.items(), key=_by_name)),
        links=tuple(_link(edge, stamp) for edge, stamp in sorted(edges.items())),
    )


def ranked_key(key: str, ranks: Mapping[str, int]) -> str:
    """Return the ranked key of `kind:value`, as nodes have it; its kind has a rank."""
    return f"{ranks[key.partition(':')[0]]:02d}:{key}"


def shown_key(ranked: str) -> str:
    """Return an identity key as people see it, without its rank."""
    return ranked[RANK_CHARACTERS:]


def evidence_of(stamp: Stamp) -> Evidence:
    """Return the message with that stamp. A job's batch is its id and a number; what has no number is of no job."""
    at, batch, index = stamp
    job_id, _, number = batch.rpartition("/")
    return Evidence(at, f"{batch}/{index}", job_id if job_id and number else None)


def _link(edge: str, stamp: Stamp) -> NamedTogether:
    larger, _, smaller = edge.partition(BETWEEN)
    return NamedTogether(shown_key(larger), shown_key(smaller), evidence_of(stamp))


def _attribute(name: str, cell: Any) -> AttributeValue:
    merge, _, attribute = name.partition(":")
    value, stamp = value_of(name, cell)
    return AttributeValue(attribute, merge, value, evidence_of(stamp))


def _by_name(item: tuple[str, Any]) -> tuple[str, str]:
    merge, _, attribute = item[0].partition(":")
    return attribute, merge
