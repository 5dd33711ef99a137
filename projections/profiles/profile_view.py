"""A profile as users see it: attributes with the message that decided each, identities, and the links between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from projections.profiles.crdt import Registers, Stamp, value_of
from projections.profiles.identity_node import EDGE_SEPARATOR, Edges
from projections.profiles.partitioning import RANK_CHARACTERS


@dataclass(frozen=True, slots=True)
class Evidence:
    """The message behind a value: its time in microseconds since 1970 UTC, its id, and the job that wrote it."""

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
class IdentityLink:
    """Two identities, and the first message that named both."""

    one: str
    other: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile; `key` is its best identity."""

    key: str
    identities: tuple[str, ...]
    attributes: tuple[AttributeValue, ...]
    links: tuple[IdentityLink, ...]


def profile_of(key: str, registers: Registers, edges: Edges) -> Profile:
    """Return the profile that the root `key` (ranked) holds."""
    keys = sorted({key, *(end for edge in edges for end in edge.split(EDGE_SEPARATOR))})
    return Profile(
        key=shown_key(key),
        identities=tuple(map(shown_key, keys)),
        attributes=tuple(_attribute(name, register) for name, register in sorted(registers.items(), key=_by_name)),
        links=tuple(_link(edge, stamp) for edge, stamp in sorted(edges.items())),
    )


def ranked_key(key: str, ranks: Mapping[str, int]) -> str:
    """Return the ranked key of an identity `kind:value`: its two-digit rank precedes it, so that keys sort by rank.

    `ranks` has the rank of the kind.
    """
    return f"{ranks[key.partition(':')[0]]:02d}:{key}"


def shown_key(ranked: str) -> str:
    """Return an identity key as users see it, without its rank."""
    return ranked[RANK_CHARACTERS:]


def kind_of(ranked: str) -> str:
    """Return the kind of a ranked key."""
    return shown_key(ranked).partition(":")[0]


def evidence_of(stamp: Stamp) -> Evidence:
    """Return the message with that stamp. The batch of a job's messages is the job id and a number."""
    at, batch, index = stamp
    job_id, _, number = batch.rpartition("/")
    return Evidence(at, f"{batch}/{index}", job_id if job_id and number else None)


def _link(edge: str, stamp: Stamp) -> IdentityLink:
    larger, _, smaller = edge.partition(EDGE_SEPARATOR)
    return IdentityLink(shown_key(larger), shown_key(smaller), evidence_of(stamp))


def _attribute(name: str, register: Any) -> AttributeValue:
    merge, _, attribute = name.partition(":")
    value, stamp = value_of(name, register)
    return AttributeValue(attribute, merge, value, evidence_of(stamp))


def _by_name(item: tuple[str, Any]) -> tuple[str, str]:
    merge, _, attribute = item[0].partition(":")
    return attribute, merge
