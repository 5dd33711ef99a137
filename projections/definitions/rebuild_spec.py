"""The spec of a rebuild, as a value and as JSON text: rules with their versions, and the messages that count.

On the wire the text is the field `spec`:

    {"identity": {"version": 2, "body": "…"}, "mappings": {"flights": {"version": 3, "body": "…"}},
     "since": 1357016400000000, "until": null, "until_set_at": 1767225600000000,
     "excluded": {"a job's id": 1767225600000000}}

Times are microseconds since 1970 UTC, and a body is a string that holds JSON. Bodies are not validated here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from projections.mapping.body_parser import InvalidRulesError, JsonNode
from projections.mapping.converters import format_example
from schemas.definitions import IDENTITY, FieldRefused, mapping_of
from schemas.instants import EARLIEST, LATEST
from schemas.names import MAX_JOB_ID, is_job_id

MEMBERS: Final = ("identity", "mappings", "since", "until", "until_set_at", "excluded")
MAX_BODY_CHARACTERS: Final = 1_000_000  # `check_body` has the limits of the content
MAX_EXCLUDED: Final = 10_000
MAX_VERSION: Final = 10**9


@dataclass(frozen=True, slots=True)
class VersionedBody:
    """A version of a definition with its body: the active one or the draft."""

    version: int
    body: str  # JSON


@dataclass(frozen=True, slots=True)
class Scope:
    """The messages that count: by event time, and by the job or upload that sent them.

    `until` and `excluded` (times by job) concern the past only. Messages dated `until_set_at` or later count again, or
    there would be no live traffic. Messages of an excluded job count again if they arrived at its time in `excluded` or
    later, or an import that was undone could never be repeated.
    """

    since: int | None = None
    until: int | None = None
    until_set_at: int = 0
    excluded: Mapping[str, int] = field(default_factory=dict)

    def includes(self, at: int) -> bool:
        """Whether a message with that event time counts."""
        if self.since is not None and at < self.since:
            return False
        return self.until is None or at < self.until or at >= self.until_set_at

    def excludes(self, job_id: str, arrived: int) -> bool:
        """Whether messages of a job that arrived at that time do not count."""
        return arrived < self.excluded.get(job_id, arrived)


EVERYTHING: Final = Scope()


@dataclass(frozen=True, slots=True)
class RebuildSpec:
    """The rules that a rebuild maps by, and the messages that it includes."""

    identity: VersionedBody | None = None
    mappings: Mapping[str, VersionedBody] = field(default_factory=lambda: MappingProxyType({}))  # by stream
    scope: Scope = EVERYTHING

    @property
    def bodies(self) -> Mapping[str, VersionedBody]:
        """The rules by definition id."""
        identity = {IDENTITY: self.identity} if self.identity else {}
        return identity | {mapping_of(stream): body for stream, body in self.mappings.items()}

    @property
    def versions(self) -> Mapping[str, int]:
        """The versions of the rules by definition id."""
        return {name: body.version for name, body in self.bodies.items()}

    def without(self, job_id: str, at: int) -> "RebuildSpec":
        """Return the spec without the messages of a job that arrived before `at`, in microseconds since 1970 UTC."""
        return replace(self, scope=replace(self.scope, excluded={**self.scope.excluded, job_id: at}))


def spec_text(spec: RebuildSpec) -> str:
    """Return a spec as JSON: equal specs have equal texts."""
    scope = spec.scope
    return json.dumps(
        {
            "identity": _body_json(spec.identity) if spec.identity else None,
            "mappings": {stream: _body_json(spec.mappings[stream]) for stream in sorted(spec.mappings)},
            "since": scope.since,
            "until": scope.until,
            "until_set_at": scope.until_set_at,
            "excluded": {job: scope.excluded[job] for job in sorted(scope.excluded)},
        }
    )


def parse_spec(text: str) -> RebuildSpec:
    """Parse the JSON of a spec.

    Raises:
        InvalidRulesError: it is malformed; lists every problem.

    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    problems: list[FieldRefused] = []
    root = JsonNode(value, "", problems)
    root.check_members(MEMBERS)
    if problems:
        raise InvalidRulesError(tuple(problems))
    mappings = root.member("mappings", {})
    if not isinstance(mappings.value, Mapping):
        mappings.refuse("not_an_object", {"found": format_example(mappings.value)})
    identity = root.member("identity")
    names = mappings.value if isinstance(mappings.value, Mapping) else {}
    spec = RebuildSpec(
        identity=_body(identity) if identity.value is not None else None,
        mappings=MappingProxyType({stream: _body(mappings.member(stream)) for stream in names}),
        scope=_scope(root),
    )
    if problems:
        raise InvalidRulesError(tuple(problems))
    return spec


def _body_json(body: VersionedBody) -> dict[str, str | int]:
    return {"version": body.version, "body": body.body}


def _body(node: JsonNode) -> VersionedBody:
    node.check_members(("version", "body"))
    return VersionedBody(node.member("version").integer(1, MAX_VERSION), node.member("body").text(MAX_BODY_CHARACTERS))


def _scope(root: JsonNode) -> Scope:
    return Scope(
        since=_time(root.member("since")),
        until=_time(root.member("until")),
        until_set_at=root.member("until_set_at", 0).integer(EARLIEST, LATEST),
        excluded=_excluded_jobs(root.member("excluded", {})),
    )


def _excluded_jobs(node: JsonNode) -> Mapping[str, int]:
    if not isinstance(node.value, Mapping):
        node.refuse("not_an_object", {"found": format_example(node.value)})
        return {}
    if len(node.value) > MAX_EXCLUDED:
        node.refuse("too_many_jobs", {"max": MAX_EXCLUDED})
        return {}
    if not all(is_job_id(job_id) for job_id in node.value):
        node.refuse("bad_job_id", {"max": MAX_JOB_ID})
    return {job_id: node.member(job_id).integer(EARLIEST, LATEST) for job_id in node.value}


def _time(node: JsonNode) -> int | None:
    return None if node.value is None else node.integer(EARLIEST, LATEST)
