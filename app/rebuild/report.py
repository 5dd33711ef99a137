"""What a rebuild's report says, as JSON: counts, digests, and some profiles of every kind as examples."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from app.rebuild.diff import MAX_SAMPLES, DiffSample, ProfileComparison
from projections.definitions.rebuild import MAX_REPORT_BYTES
from projections.profiles.identity_node import Node
from projections.profiles.profile_view import Profile, profile_of, shown_key

MAX_SHOWN: Final = 10  # identities, attributes, or values in a list
MAX_TEXT_CHARACTERS: Final = 100  # characters
MAX_DEPTH: Final = 2  # attributes, and what their values hold; what is further inside is shown as JSON text
MAX_SAMPLES_BYTES: Final = MAX_REPORT_BYTES - 4 * 1024  # bytes; all else is some numbers

Nodes = Mapping[str, Node]  # by ranked key


def report_of(comparison: ProfileComparison, at: datetime, live: Nodes, rebuilt: Nodes) -> dict[str, Any]:
    """Return the report; the nodes of all samples are in `live` and `rebuilt`, as far as they are still there."""
    sides = zip(("live", "rebuilt"), comparison.profiles, comparison.digests, strict=True)
    return {
        "compared_at": at.isoformat(),
        "equal": comparison.digests[0] == comparison.digests[1],
        **{name: {"profiles": count, "digest": digest} for name, count, digest in sides},
        "counts": {**comparison.counts, "changing": comparison.moving, "evidence_changed": comparison.other_evidence},
        "samples": _fitting(
            {
                name: [_shown(name, each, live, rebuilt) for each in samples]
                for name, samples in comparison.samples.items()
                if samples
            }
        ),
    }


def not_compared(why: str, at: datetime) -> dict[str, Any]:
    """Return the report that tells only why nothing was compared."""
    return {"compared_at": at.isoformat(), "skipped_reason": why}


def keys_of(comparison: ProfileComparison) -> tuple[set[str], set[str]]:
    """Return the ranked keys of all samples: of what is live, and of what was rebuilt."""
    samples = [each for those in comparison.samples.values() for each in those]
    return {key for each in samples for key in each.live}, {key for each in samples for key in each.rebuilt}


def _fitting(samples: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    """Return as many of each class as fit: a report that is too large is refused, and nothing would ever be ready."""
    most = MAX_SAMPLES
    while len(orjson.dumps(samples)) > MAX_SAMPLES_BYTES:
        most -= 1
        samples = {name: those[:most] for name, those in samples.items() if most}
    return samples


def _shown(name: str, sample: DiffSample, live: Nodes, rebuilt: Nodes) -> dict[str, Any]:
    if name == "split":
        return {"profile": shown_key(sample.live[0]), "into": [shown_key(each) for each in sample.rebuilt]}
    if name == "merged":
        return {"profile": shown_key(sample.rebuilt[0]), "of": [shown_key(each) for each in sample.live]}
    if name == "changed":
        before, after = _profile(sample.live[0], live), _profile(sample.rebuilt[0], rebuilt)
        return {"profile": after.key, "before": _other(before, after), "after": _other(after, before)}
    one = _profile(sample.live[0], live) if sample.live else _profile(sample.rebuilt[0], rebuilt)
    return {"profile": one.key, "identities": _short(one.identities), "attributes": _short(_values(one))}


def _profile(key: str, nodes: Nodes) -> Profile:
    node = nodes.get(key) or Node(key)
    return profile_of(key, node.registers, node.edges)


def _values(profile: Profile) -> dict[str, Any]:
    return {each.name: each.value for each in profile.attributes}


def _merges(profile: Profile) -> dict[str, Any]:
    return {each.name: f"merged by {each.merge}" for each in profile.attributes}


def _other(one: Profile, than: Profile) -> dict[str, Any]:
    """Return what one profile says otherwise than another; null for what only the other one says."""
    values, known = _values(one), _values(than)
    if (values, one.identities) == (known, than.identities):  # then it is how they merge
        values, known = _merges(one), _merges(than)
    names = [each for each in sorted(values | known) if values.get(each) != known.get(each)]
    found: dict[str, Any] = {"attributes": _short({each: values.get(each) for each in names})}
    return found if one.identities == than.identities else {"identities": _short(one.identities), **found}


def _short(value: Any, levels: int = MAX_DEPTH) -> Any:
    """Return a value as an example may hold it, with a word on how much was left out."""
    match value:
        case str() if len(value) > MAX_TEXT_CHARACTERS:
            return value[: MAX_TEXT_CHARACTERS - 1] + "…"
        case list() | tuple() | dict() if not levels:
            return _short(orjson.dumps(value).decode())
        case list() | tuple():
            rest = [f"… and {len(value) - MAX_SHOWN:,} more"] if len(value) > MAX_SHOWN else []
            return [*(_short(each, levels - 1) for each in value[:MAX_SHOWN]), *rest]
        case dict():
            rest_of = {"…": f"{len(value) - MAX_SHOWN:,} more"} if len(value) > MAX_SHOWN else {}
            return {_short(each): _short(value[each], levels - 1) for each in list(value)[:MAX_SHOWN]} | rest_of
        case _:
            return value
