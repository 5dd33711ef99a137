"""How one set of profiles differs from another: which are the same, changed, new, gone, split or merged.

Profiles of the two sides belong together when they share an identity. Where one shares with exactly one, and that with
no third, it is unchanged or changed. One that shares with several is split (a live one) or merged (a rebuilt one);
where both happen at once, each profile counts where it is the one that shares with several. What shares none is removed
or added.

Profiles that a message has named meanwhile are *moving*, and all that belongs to them: they are counted, not compared.
Kept of each profile are its key, a hash of each identity and hashes of what it says: about a hundred bytes.
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
AT_ONCE: Final = 100_000  # identities that are looked up together

Hashes = npt.NDArray[np.uint64]
Owners = npt.NDArray[np.uint32]
Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class ProfileSet:
    """The profiles of one side. `add` all of them; profiles are numbered as they come."""

    def __init__(self) -> None:
        self._identities = array("Q")  # a hash of each
        self._owners = array("I")  # the profile that has it
        self._visible = array("Q")  # by profile: a hash of its identities and values
        self._whole = array("Q")  # two by profile: a hash of all that it says, evidence and links included
        self._keys = bytearray()  # the ranked key of each, one behind the other
        self._ends = array("Q", [0])

    def __len__(self) -> int:
        return len(self._visible)

    def add(self, key: str, registers: Registers, edges: Edges) -> None:
        """Take the profile that the root `key` (ranked) holds; nothing is no profile."""
        if not registers and not edges:
            return
        keys = {key, *(each for edge in edges for each in edge.split(EDGE_SEPARATOR))}
        identities = sorted(shown_key(each) for each in keys)
        said = {name: value_of(name, register) for name, register in sorted(registers.items())}
        visible = orjson.dumps([shown_key(key), identities, [[name, value] for name, (value, _) in said.items()]])
        links = sorted(
            (*(shown_key(each) for each in edge.split(EDGE_SEPARATOR)), stamp) for edge, stamp in edges.items()
        )
        whole = blake2b(visible, digest_size=16)
        whole.update(orjson.dumps([[stamp for _, stamp in said.values()], links]))
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
        """Return by profile a hash of what people see at first."""
        return np.asarray(self._visible)

    @property
    def whole(self) -> npt.NDArray[np.uint64]:
        """Return by profile a hash of all that it says, in two parts."""
        return np.asarray(self._whole).reshape(-1, 2)

    def moving(self, touched: Hashes) -> Mask:
        """Return which profiles have an identity that was touched; those are sorted."""
        found = np.zeros(len(self), np.bool_)
        is_touched = np.searchsorted(touched, self.identities) != np.searchsorted(touched, self.identities, "right")
        found[self.owners[is_touched]] = True
        return found

    def digest(self, which: Mask) -> str:
        """Return one digest of some profiles, whatever their order."""
        high, low = self.whole[which].sum(axis=0, dtype=np.uint64).tolist()
        return f"{high:016x}{low:016x}"


@dataclass(frozen=True, slots=True)
class DiffSample:
    """One profile as an example: ranked keys of either side."""

    live: Sequence[str] = ()
    rebuilt: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ProfileComparison:
    """`counts` of split are live profiles, of merged rebuilt ones. Live comes first in pairs.

    `other_evidence` are unchanged ones with other messages, times or links behind the same values. The digests are of
    all profiles that don't move.
    """

    counts: Mapping[Class, int]
    other_evidence: int
    moving: int
    profiles: tuple[int, int]
    digests: tuple[str, str]
    samples: Mapping[Class, Sequence[DiffSample]]


def compare(live: ProfileSet, rebuilt: ProfileSet, touched: Iterable[int]) -> ProfileComparison:
    """Compare two sides; `touched` are hashes of the identities that messages have named meanwhile."""
    ones, others = _pairs(live, rebuilt)
    hashes = np.sort(np.fromiter(touched, np.uint64))
    moving, moving_too = _spread(live.moving(hashes), rebuilt.moving(hashes), ones, others)
    new_and_moving = moving_too & (np.bincount(others, minlength=len(rebuilt)) == 0)
    rest = ~moving[ones]
    ones, others = ones[rest], others[rest]
    into, of = np.bincount(ones, minlength=len(live)), np.bincount(others, minlength=len(rebuilt))
    alone = (into[ones] == 1) & (of[others] == 1)
    one, other = ones[alone], others[alone]
    same = live.visible[one] == rebuilt.visible[other]
    exact = (live.whole[one] == rebuilt.whole[other]).all(axis=1)
    classes: Mapping[Class, Places] = {
        "unchanged": one[same],
        "changed": one[~same],
        "added": np.flatnonzero((of == 0) & ~moving_too),
        "removed": np.flatnonzero((into == 0) & ~moving),
        "split": np.flatnonzero(into > 1),
        "merged": np.flatnonzero(of > 1),
    }
    return ProfileComparison(
        counts={name: those.size for name, those in classes.items()},
        other_evidence=int(np.count_nonzero(same & ~exact)),
        moving=int(np.count_nonzero(moving)) + int(np.count_nonzero(new_and_moving)),
        profiles=(len(live), len(rebuilt)),
        digests=(live.digest(~moving), rebuilt.digest(~moving_too)),
        samples=_samples(live, rebuilt, (ones, others), classes),
    )


def _samples(
    live: ProfileSet, rebuilt: ProfileSet, pairs: tuple[Places, Places], classes: Mapping[Class, Places]
) -> Mapping[Class, Sequence[DiffSample]]:
    """Return some profiles of each class, with those of the other side that they belong to."""
    ones, others = pairs

    def of_live(name: Class) -> Sequence[DiffSample]:
        those = _some(classes[name], live.visible)
        return [DiffSample([live.key(each)], _keys(rebuilt, others[ones == each])) for each in those]

    def of_rebuilt(name: Class) -> Sequence[DiffSample]:
        those = _some(classes[name], rebuilt.visible)
        return [DiffSample(_keys(live, ones[others == each]), [rebuilt.key(each)]) for each in those]

    return {
        "changed": of_live("changed"),
        "added": of_rebuilt("added"),
        "removed": of_live("removed"),
        "split": of_live("split"),
        "merged": of_rebuilt("merged"),
    }


def _pairs(live: ProfileSet, rebuilt: ProfileSet) -> tuple[Places, Places]:
    """Return the numbers of profiles that share an identity, each pair once."""
    order = np.argsort(rebuilt.identities)
    found = [np.empty(0, np.int64)]
    for begin in range(0, live.identities.size, AT_ONCE):
        mine = live.identities[begin : begin + AT_ONCE]
        places = np.searchsorted(rebuilt.identities, mine, sorter=order)
        known = np.flatnonzero(places < order.size)
        theirs = order[places[known]]
        is_same = rebuilt.identities[theirs] == mine[known]
        owners = live.owners[begin + known[is_same]].astype(np.int64)
        found.append(np.unique(owners * len(rebuilt) + rebuilt.owners[theirs[is_same]]))
    return np.divmod(np.unique(np.concatenate(found)), max(len(rebuilt), 1))


def _spread(moving: Mask, moving_too: Mask, ones: Places, others: Places) -> tuple[Mask, Mask]:
    """Return what moves, when all moves that belongs to something that does."""
    before = -1
    while before != (before := int(np.count_nonzero(moving)) + int(np.count_nonzero(moving_too))):
        moving_too[others[moving[ones]]] = True
        moving[ones[moving_too[others]]] = True
    return moving, moving_too


def _some(which: Places, hashes: Hashes) -> Sequence[int]:
    """Return a few profiles, always the same ones: those with the smallest hashes."""
    found: list[int] = which[np.argsort(hashes[which], kind="stable")[:MAX_SAMPLES]].tolist()
    return found


def _keys(side: ProfileSet, numbers: Places) -> Sequence[str]:
    return [side.key(each) for each in numbers[:MAX_PARTS].tolist()]


def identity_hash(shown: str) -> int:
    """Return what stands for an identity, `kind:value`."""
    return _number(blake2b(shown.encode(), digest_size=8).digest())


def _number(digest: bytes) -> int:
    return int.from_bytes(digest, sys.byteorder)
