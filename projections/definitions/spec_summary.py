"""The spec of a rebuild as sentences: the versions of its rules, and the messages that it includes."""

from collections.abc import Iterator, Mapping, Sequence

from projections.definitions.rebuild_spec import Scope
from schemas.definitions import stream_of
from schemas.instants import moment


def spec_in_words(versions: Mapping[str, int], scope: Scope, active: Mapping[str, int]) -> Sequence[str]:
    """Return the versions (by definition id) and the scope of a spec as sentences, with active versions that differ."""
    return [*_rules(versions, active), *(list(_messages(scope)) or ["all messages"])]


def _rules(versions: Mapping[str, int], active: Mapping[str, int]) -> Iterator[str]:
    for name in sorted(versions.keys() | active.keys()):
        version, active_version = _version(versions.get(name)), _version(active.get(name))
        yield f"{_title(name)}: {version}" + (f"; active: {active_version}" if version != active_version else "")


def _version(version: int | None) -> str:
    return f"version {version}" if version else "none"


def _title(definition_id: str) -> str:
    stream = stream_of(definition_id)
    return "identity rules" if stream is None else f"mapping of {stream}"


def _messages(scope: Scope) -> Iterator[str]:
    if scope.since is not None:
        yield f"only messages since {_moment(scope.since)}"
    if scope.until is not None:
        yield f"only messages before {_moment(scope.until)} and since {_moment(scope.until_set_at)}"
    for job_id, before in sorted(scope.excluded.items()):
        yield f"without messages of job {job_id} that arrived before {_moment(before)}"


def _moment(micros: int) -> str:
    return moment(micros).isoformat(timespec="seconds").replace("+00:00", "Z")
