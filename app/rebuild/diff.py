"""The differences between two sets of profiles: unchanged, changed, added, removed, split or merged.

Profiles of the two sides belong together when they share an identity. A pair that shares with no third profile is
unchanged or changed. A live profile that shares with several is split, a rebuilt one merged; where both are the case,
each profile counts on the side where it shares with several. A profile that shares with none is removed or added.

Profiles with an identity in recent messages are *changing*, and all that belong together with them: they are counted,
not compared. A profile takes about a hundred bytes: its key, a hash of each identity, and hashes of its state.
"""

import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import orjson

from projections.profiles.crdt import Registers, value_of
from projections.profiles.identity_node import EDGE_SEPARATOR, Edges
from projections.profiles.profile_view import shown_key

Class = Literal["unchanged", "changed", "added", "removed", "split", "merged"]
MAX_SAMPLES: Final = 20  # of a class
MAX_PARTS: Final = 10  # of a profile that is split or merged, in a sample
BATCH_IDENTITIES: Final = 100_000  # joined at a time

Hashes = npt.NDArray[np.uint64]
Owners = npt.NDArray[np.uint32]
Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class ProfileSet:
    """The profiles of one side. They are numbered in the order of `add`."""

    def __init__(self) -> None:
        self._identities = array("Q")  # a hash of each
        self._owners = array("I")  # the profile that has it
        self._visible = array("Q")  # by profile: a hash of its identities and values
        self._whole = array("Q")  # two by profile: a hash of its whole state, evidence and links included
        self._keys = bytearray()  # the ranked keys, concatenated
        self._ends = array("Q", [0])

    def __len__(self) -> int:
        return len(self._visible)

    def add(self, key: str, registers: Registers, edges: Edges) -> None:
        """Add the profile that the root `key` (ranked) holds; an empty root has none."""
        if not registers and not edges:
            return
        keys = {key, *(end for edge in edges for end in edge.split(EDGE_SEPARATOR))}
        identities = sorted(map(shown_key, keys))
        values = {name: value_of(name, register) for name, register in sorted(registers.items())}
        visible = orjson.dumps([shown_key(key), identities, [[name, value] for name, (value, _) in values.items()]])
        links = sorted((*map(shown_key, edge.split(EDGE_SEPARATOR)), stamp) for edge, stamp in edges.items())
        whole = blake2b(visible, digest_size=16)
        whole.update(orjson.dumps([[stamp for _, stamp in values.values()], links]))
        self._owners.extend([len(self)] * len(identities))
        self._identities.extend(map(identity_hash, identities))
        self._visible.append(_number(blake2b(visible, digest_size=8).digest()))
        self._whole.frombytes(whole.digest())
        self._keys += key.encode()
        self._ends.append(len(self._keys))

    def key(self, number: int) -> str:
        """Return the ranked key of a profile."""
        return self._keys[self._ends[number] : self._ends[number + 1]].decode()

    @property
    def identities(self) -> Hashes:
        """Return the hash of each identity."""
        return np.asarray(self._identities)

    @property
    def owners(self) -> Owners:
        """Return the profile of each identity."""
        return np.asarray(self._owners)

    @property
    def visible(self) -> Hashes:
        """Return the hash of identities and values, by profile."""
        return np.asarray(self._visible)

    @property
    def whole(self) -> npt.NDArray[np.uint64]:
        """Return the hash of the whole state in two parts, by profile."""
        return np.asarray(self._whole).reshape(-1, 2)

    def changing(self, touched: Hashes) -> Mask:
        """Return which profiles have an identity among the touched ones, which are sorted."""
        mask = np.zeros(len(self), np.bool_)
        is_touched = np.searchsorted(touched, self.identities) != np.searchsorted(touched, self.identities, "right")
        mask[self.owners[is_touched]] = True
        return mask

    def digest(self, mask: Mask) -> str:
        """Return a digest of some profiles that does not depend on their order."""
        high, low = self.whole[mask].sum(axis=0, dtype=np.uint64).tolist()
        return f"{high:016x}{low:016x}"


@dataclass(frozen=True, slots=True)
class DiffSample:
    """One sample profile: ranked keys of either side."""

    live: Sequence[str] = ()
    rebuilt: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ProfileComparison:
    """The number of profiles of each class; live ones for split, rebuilt ones for merged. Pairs are (live, rebuilt).

    `evidence_changed` counts unchanged profiles with other messages, times or links behind the same values. The digests
    exclude changing profiles.
    """

    counts: Mapping[Class, int]
    evidence_changed: int
    changing: int
    profiles: tuple[int, int]
    digests: tuple[str, str]
    samples: Mapping[Class, Sequence[DiffSample]]


def compare(live: ProfileSet, rebuilt: ProfileSet, touched: Iterable[int]) -> ProfileComparison:
    """Compare two sides; `touched` has the hashes of identities in recent messages."""
    ones, others = _pairs(live, rebuilt)
    hashes = np.sort(np.fromiter(touched, np.uint64))
    live_changing, rebuilt_changing = _spread(live.changing(hashes), rebuilt.changing(hashes), ones, others)
    added_and_changing = rebuilt_changing & (np.bincount(others, minlength=len(rebuilt)) == 0)
    stable = ~live_changing[ones]
    ones, others = ones[stable], others[stable]
    into, of = np.bincount(ones, minlength=len(live)), np.bincount(others, minlength=len(rebuilt))
    is_one_to_one = (into[ones] == 1) & (of[others] == 1)
    one, other = ones[is_one_to_one], others[is_one_to_one]
    is_same = live.visible[one] == rebuilt.visible[other]
    is_exact = (live.whole[one] == rebuilt.whole[other]).all(axis=1)
    classes: Mapping[Class, Indices] = {
        "unchanged": one[is_same],
        "changed": one[~is_same],
        "added": np.flatnonzero((of == 0) & ~rebuilt_changing),
        "removed": np.flatnonzero((into == 0) & ~live_changing),
        "split": np.flatnonzero(into > 1),
        "merged": np.flatnonzero(of > 1),
    }
    return ProfileComparison(
        counts={name: members.size for name, members in classes.items()},
        evidence_changed=int(np.count_nonzero(is_same & ~is_exact)),
        changing=int(np.count_nonzero(live_changing)) + int(np.count_nonzero(added_and_changing)),
        profiles=(len(live), len(rebuilt)),
        digests=(live.digest(~live_changing), rebuilt.digest(~rebuilt_changing)),
        samples=_samples(live, rebuilt, (ones, others), classes),
    )


def _samples(
    live: ProfileSet, rebuilt: ProfileSet, pairs: tuple[Indices, Indices], classes: Mapping[Class, Indices]
) -> Mapping[Class, Sequence[DiffSample]]:
    """Return some profiles of each class, with those of the other side that belong to them."""
    ones, others = pairs

    def of_live(name: Class) -> Sequence[DiffSample]:
        profiles = _smallest(classes[name], live.visible)
        return [DiffSample([live.key(number)], _keys(rebuilt, others[ones == number])) for number in profiles]

    def of_rebuilt(name: Class) -> Sequence[DiffSample]:
        profiles = _smallest(classes[name], rebuilt.visible)
        return [DiffSample(_keys(live, ones[others == number]), [rebuilt.key(number)]) for number in profiles]

    return {
        "changed": of_live("changed"),
        "added": of_rebuilt("added"),
        "removed": of_live("removed"),
        "split": of_live("split"),
        "merged": of_rebuilt("merged"),
    }


def _pairs(live: ProfileSet, rebuilt: ProfileSet) -> tuple[Indices, Indices]:
    """Return the numbers of profiles that share an identity, each pair once."""
    order = np.argsort(rebuilt.identities)
    pairs = [np.empty(0, np.int64)]
    for begin in range(0, live.identities.size, BATCH_IDENTITIES):
        identities = live.identities[begin : begin + BATCH_IDENTITIES]
        positions = np.searchsorted(rebuilt.identities, identities, sorter=order)
        inside = np.flatnonzero(positions < order.size)
        matches = order[positions[inside]]
        is_same = rebuilt.identities[matches] == identities[inside]
        owners = live.owners[begin + inside[is_same]].astype(np.int64)
        pairs.append(np.unique(owners * len(rebuilt) + rebuilt.owners[matches[is_same]]))
    return np.divmod(np.unique(np.concatenate(pairs)), max(len(rebuilt), 1))


def _spread(live: Mask, rebuilt: Mask, live_members: Indices, rebuilt_members: Indices) -> tuple[Mask, Mask]:
    """Extend the changing profiles by all that belong together with one of them, until none is added."""
    before = -1
    while before != (before := int(np.count_nonzero(live)) + int(np.count_nonzero(rebuilt))):
        rebuilt[rebuilt_members[live[live_members]]] = True
        live[live_members[rebuilt[rebuilt_members]]] = True
    return live, rebuilt


def _smallest(members: Indices, hashes: Hashes) -> Sequence[int]:
    """Return a few profiles, the same in every run: those with the smallest hashes."""
    profiles: list[int] = members[np.argsort(hashes[members], kind="stable")[:MAX_SAMPLES]].tolist()
    return profiles


def _keys(side: ProfileSet, numbers: Indices) -> Sequence[str]:
    return [side.key(number) for number in numbers[:MAX_PARTS].tolist()]


def identity_hash(shown: str) -> int:
    """Return the hash of an identity, `kind:value`."""
    return _number(blake2b(shown.encode(), digest_size=8).digest())


def _number(digest: bytes) -> int:
    return int.from_bytes(digest, sys.byteorder)
