"""What profiles are made by, as one value and as one JSON text: rules with their versions, and what is left out.

    {"identity": {"version": 2, "body": "…"}, "mappings": {"flights": {"version": 3, "body": "…"}},
     "since": 1357016400000000, "until": null, "began": 1767225600000000, "left_out": {"a job's id": 1767225600000000}}

Moments are microseconds since 1970 UTC, and bodies are JSON in a text. Says nothing of whether the bodies can be rules.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from projections.mapping.body_parser import InvalidRulesError, JsonNode
from projections.mapping.converters import format_example
from schemas.definitions import FieldRefused
from schemas.instants import EARLIEST, LATEST
from schemas.names import MAX_JOB_ID, is_job_id

MEMBERS: Final = ("identity", "mappings", "since", "until", "began", "left_out")
MAX_BODY_CHARACTERS: Final = 1_000_000  # characters; what a body may have is checked where it is one
MAX_EXCLUDED: Final = 10_000
NEWEST_VERSION: Final = 10**9


@dataclass(frozen=True, slots=True)
class AppliedBody:
    """A body in force."""

    version: int
    body: str  # JSON


@dataclass(frozen=True, slots=True)
class Scope:
    """Which messages count: by their own time, and by the job or upload that brought them.

    `until` and `left_out` are about the past only. What happens from `began` on counts again, or there would be no live
    traffic; and what a job brings from its moment in `left_out` on, or an import that was undone could never be made
    again.
    """

    since: int | None = None
    until: int | None = None
    began: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)

    def takes(self, at: int) -> bool:
        """Tell whether a message of that time counts."""
        if self.since is not None and at < self.since:
            return False
        return self.until is None or at < self.until or at >= self.began

    def leaves_out(self, job_id: str, arrived: int) -> bool:
        """Tell whether messages that a job brought at that time don't count."""
        return arrived < self.left_out.get(job_id, arrived)


EVERYTHING: Final = Scope()


@dataclass(frozen=True, slots=True)
class RebuildSpec:
    """Rules, and the messages that they are for."""

    identity: AppliedBody | None = None
    mappings: Mapping[str, AppliedBody] = field(default_factory=lambda: MappingProxyType({}))  # by stream
    scope: Scope = EVERYTHING


def recipe_text(recipe: RebuildSpec) -> str:
    """Return the one text of a recipe."""
    scope = recipe.scope
    return json.dumps(
        {
            "identity": _written(recipe.identity) if recipe.identity else None,
            "mappings": {stream: _written(recipe.mappings[stream]) for stream in sorted(recipe.mappings)},
            "since": scope.since,
            "until": scope.until,
            "began": scope.began,
            "left_out": {job: scope.left_out[job] for job in sorted(scope.left_out)},
        }
    )


def read_recipe(text: str) -> RebuildSpec:
    """Return the recipe in a text from outside.

    Raises:
        InvalidRulesError: there is none.

    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    problems: list[FieldRefused] = []
    whole = JsonNode(value, "", problems)
    whole.check_members(MEMBERS)
    if problems:
        raise InvalidRulesError(tuple(problems))
    mappings = whole.member("mappings", {})
    if not isinstance(mappings.value, Mapping):
        mappings.refuse("not_an_object", {"found": format_example(mappings.value)})
    identity = whole.member("identity")
    names = mappings.value if isinstance(mappings.value, Mapping) else {}
    recipe = RebuildSpec(
        identity=_applied(identity) if identity.value is not None else None,
        mappings=MappingProxyType({stream: _applied(mappings.member(stream)) for stream in names}),
        scope=_scope(whole),
    )
    if problems:
        raise InvalidRulesError(tuple(problems))
    return recipe


def _written(applied: AppliedBody) -> dict[str, str | int]:
    return {"version": applied.version, "body": applied.body}


def _applied(part: JsonNode) -> AppliedBody:
    part.check_members(("version", "body"))
    return AppliedBody(part.member("version").integer(1, NEWEST_VERSION), part.member("body").text(MAX_BODY_CHARACTERS))


def _scope(whole: JsonNode) -> Scope:
    began = whole.member("began", 0).integer(EARLIEST, LATEST)
    return Scope(
        since=_moment(whole.member("since")),
        until=_moment(whole.member("until")),
        began=began,
        left_out=_left_out(whole.member("left_out", {})),
    )


def _left_out(part: JsonNode) -> Mapping[str, int]:
    if not isinstance(part.value, Mapping):
        part.refuse("not_an_object", {"found": format_example(part.value)})
        return {}
    if len(part.value) > MAX_EXCLUDED:
        part.refuse("too_many_jobs", {"max": MAX_EXCLUDED})
        return {}
    if not all(is_job_id(item) for item in part.value):
        part.refuse("bad_job_id", {"max": MAX_JOB_ID})
    return {item: part.member(item).integer(EARLIEST, LATEST) for item in part.value}


def _moment(part: JsonNode) -> int | None:
    return None if part.value is None else part.integer(EARLIEST, LATEST)
