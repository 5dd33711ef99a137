"""A recipe in plain words: by which rules profiles are made, and which messages don't count. Knows no bodies."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from projections.definitions.rebuild_spec import Scope
from schemas.instants import moment

IDENTITY_RULES: Final = ""  # their name among versions by stream


def in_words(versions: Mapping[str, int], scope: Scope, in_force: Mapping[str, int]) -> Sequence[str]:
    """Return sentences about a recipe's versions and scope; where other versions are in force, they say which."""
    return [*_rules(versions, in_force), *(list(_messages(scope)) or ["all messages count"])]


def _rules(versions: Mapping[str, int], in_force: Mapping[str, int]) -> Iterator[str]:
    for name in sorted(versions.keys() | in_force.keys()):
        said, known = _version(versions.get(name)), _version(in_force.get(name))
        yield f"{_called(name)}: {said}" + (f"; in force is {known}" if said != known else "")


def _version(version: int | None) -> str:
    return f"version {version}" if version else "none"


def _called(name: str) -> str:
    return "identity rules" if name == IDENTITY_RULES else f"mapping of {name}"


def _messages(scope: Scope) -> Iterator[str]:
    if scope.since is not None:
        yield f"only messages about {_moment(scope.since)} and later"
    if scope.until is not None:
        yield f"only messages about the time before {_moment(scope.until)}, and about {_moment(scope.began)} and later"
    for job, past in sorted(scope.left_out.items()):
        yield f"without what job {job} brought before {_moment(past)}"


def _moment(micros: int) -> str:
    return moment(micros).isoformat(timespec="seconds").replace("+00:00", "Z")
