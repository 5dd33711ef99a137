"""The report of a rebuild as JSON: counts, digests, and sample profiles of each class."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from app.rebuild.diff import MAX_SAMPLES, DiffSample, ProfileComparison
from projections.definitions.rebuild import MAX_REPORT_BYTES
from projections.profiles.identity_node import Node
from projections.profiles.profile_view import Profile, profile_of, shown_key

MAX_SHOWN: Final = 10  # identities, attributes, or items of a list
MAX_TEXT_CHARACTERS: Final = 100
MAX_DEPTH: Final = 2  # attributes, and the members of their values; deeper ones are shown as JSON text
MAX_SAMPLES_BYTES: Final = MAX_REPORT_BYTES - 4 * 1024  # the rest of a report is small

Nodes = Mapping[str, Node]  # by ranked key


def report_of(comparison: ProfileComparison, at: datetime, live: Nodes, rebuilt: Nodes) -> dict[str, Any]:
    """Return the report; `live` and `rebuilt` have the nodes of all samples that still exist."""
    sides = zip(("live", "rebuilt"), comparison.profiles, comparison.digests, strict=True)
    return {
        "compared_at": at.isoformat(),
        "equal": comparison.digests[0] == comparison.digests[1],
        **{name: {"profiles": count, "digest": digest} for name, count, digest in sides},
        "counts": {
            **comparison.counts,
            "changing": comparison.changing,
            "evidence_changed": comparison.evidence_changed,
        },
        "samples": _fitting(
            {
                name: [_shown(name, sample, live, rebuilt) for sample in samples]
                for name, samples in comparison.samples.items()
                if samples
            }
        ),
    }


def skipped_report(reason: str, at: datetime) -> dict[str, Any]:
    """Return the report with the reason why nothing was compared."""
    return {"compared_at": at.isoformat(), "skipped_reason": reason}


def keys_of(comparison: ProfileComparison) -> tuple[set[str], set[str]]:
    """Return the ranked keys of all samples: the live ones, and the rebuilt ones."""
    samples = [sample for samples in comparison.samples.values() for sample in samples]
    return {key for sample in samples for key in sample.live}, {key for sample in samples for key in sample.rebuilt}


def _fitting(samples: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    """Return as many samples of each class as fit: a larger report would be refused, and the rebuild never ready."""
    limit = MAX_SAMPLES
    while len(orjson.dumps(samples)) > MAX_SAMPLES_BYTES:
        limit -= 1
        samples = {name: class_samples[:limit] for name, class_samples in samples.items() if limit}
    return samples


def _shown(name: str, sample: DiffSample, live: Nodes, rebuilt: Nodes) -> dict[str, Any]:
    if name == "split":
        return {"profile": shown_key(sample.live[0]), "split_into": [shown_key(key) for key in sample.rebuilt]}
    if name == "merged":
        return {"profile": shown_key(sample.rebuilt[0]), "merged_from": [shown_key(key) for key in sample.live]}
    if name == "changed":
        before, after = _profile(sample.live[0], live), _profile(sample.rebuilt[0], rebuilt)
        return {"profile": after.key, "before": _differences(before, after), "after": _differences(after, before)}
    profile = _profile(sample.live[0], live) if sample.live else _profile(sample.rebuilt[0], rebuilt)
    return {"profile": profile.key, "identities": _short(profile.identities), "attributes": _short(_values(profile))}


def _profile(key: str, nodes: Nodes) -> Profile:
    node = nodes.get(key) or Node(key)
    return profile_of(key, node.registers, node.edges)


def _values(profile: Profile) -> dict[str, Any]:
    return {attribute.name: attribute.value for attribute in profile.attributes}


def _merges(profile: Profile) -> dict[str, Any]:
    return {attribute.name: f"merged by {attribute.merge}" for attribute in profile.attributes}


def _differences(one: Profile, other: Profile) -> dict[str, Any]:
    """Return the parts of a profile that differ from another one; null for attributes that only the other has."""
    values, others = _values(one), _values(other)
    if (values, one.identities) == (others, other.identities):  # then the merge functions differ
        values, others = _merges(one), _merges(other)
    names = [name for name in sorted(values | others) if values.get(name) != others.get(name)]
    differences: dict[str, Any] = {"attributes": _short({name: values.get(name) for name in names})}
    return differences if one.identities == other.identities else {"identities": _short(one.identities), **differences}


def _short(value: Any, levels: int = MAX_DEPTH) -> Any:
    """Return a value shortened for a sample, with the number of items that were cut."""
    match value:
        case str() if len(value) > MAX_TEXT_CHARACTERS:
            return value[: MAX_TEXT_CHARACTERS - 1] + "…"
        case list() | tuple() | dict() if not levels:
            return _short(orjson.dumps(value).decode())
        case list() | tuple():
            rest = [f"… and {len(value) - MAX_SHOWN:,} more"] if len(value) > MAX_SHOWN else []
            return [*(_short(item, levels - 1) for item in value[:MAX_SHOWN]), *rest]
        case dict():
            omitted = {"…": f"{len(value) - MAX_SHOWN:,} more"} if len(value) > MAX_SHOWN else {}
            return {_short(name): _short(value[name], levels - 1) for name in list(value)[:MAX_SHOWN]} | omitted
        case _:
            return value
