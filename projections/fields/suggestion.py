"""Suggest a mapping for a stream from the statistics of its fields, with a reason for each choice.

It selects identities cautiously: all identities of a message are linked to one profile, so a wrong one would merge
unrelated profiles. The user reviews the suggestion before it is applied.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from projections.fields.field_names import (
    EMAIL,
    attribute_name,
    display_path,
    expression_of,
    identity_kind,
    is_code,
    parse_id_name,
    person_grade,
    timestamp_grade,
    title_of,
    words,
)
from projections.fields.field_stats import FieldFacts, FieldStats, merge_sketches
from projections.fields.text_patterns import EPOCHS, PLACEHOLDER, TIMESTAMP, UUID
from projections.identities.value_rules import with_defaults
from projections.mapping.mapping import (
    MAX_ATTRIBUTES,
    MAX_IDENTITIES,
    MAX_NAME_CHARACTERS,
    MAX_RANK,
    NO_IDENTITY,
    IdentityRules,
    identity_body,
    parse_identity,
)
from schemas.definitions import IDENTITY, mapping_of

MIN_SHARE: Final = 0.9  # of the values must have the type: files use `NA` for missing values
HIGH_FILL: Final = 0.5
LOW_FILL: Final = 0.05
MIN_DISTINCT: Final = 50  # distinct values suffice for an ID, whatever the number of messages
MIN_DISTINCT_SHARE: Final = 0.05  # of the values, for an ID with fewer distinct values
PERSON_FACTORS: Final = (0.3, 0.8, 1.0)  # by person grade
COUNT_SUFFIX: Final = "_messages"


@dataclass(frozen=True, slots=True)
class Reason:
    """The reason for a part of the mapping (a JSON pointer)."""

    pointer: str
    text: str


class Suggestion(NamedTuple):
    """The bodies of a mapping and its identity rules. Without a candidate for an identity, both have none."""

    mapping: dict[str, Any]
    identity: dict[str, Any]
    reasons: tuple[Reason, ...]
    sampled: int


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A candidate for an identity."""

    facts: FieldFacts
    kind: str
    person: int
    score: float
    reason: str


@dataclass(slots=True)
class _Draft:
    """The stream, and the reasons collected so far."""

    stream: str
    sampled: int
    reasons: list[Reason] = field(default_factory=list)

    def explain(self, pointer: str, text: str) -> None:
        self.reasons.append(Reason(pointer, text))

    def fill(self, facts: FieldFacts) -> float:
        return facts.present / self.sampled

    def presence(self, facts: FieldFacts) -> str:
        return f"{display_path(facts.path)} is in {_share(facts.present, self.sampled)} of {self.sampled:,} messages"


def suggest(
    stream: str, stats: FieldStats, rules: IdentityRules = NO_IDENTITY, reserved: Collection[str] = ()
) -> Suggestion:
    """Suggest a mapping, and identity rules that add its kinds to the given `rules`.

    `reserved` are the attribute names of other streams. The mapping avoids them, so that two streams share an attribute
    only by intention.
    """
    draft = _Draft(stream, max(stats.sampled, 1))
    fields = [facts for facts in stats.fields() if "\0" not in facts.name]  # rules can't name such a field
    timestamp = _timestamp(draft, fields)
    others = [facts for facts in fields if timestamp is None or facts.path != (timestamp["field"],)]
    candidates = sorted(_candidates(draft, others), key=_by_score)
    chosen = _choose_identities(candidates)
    mapping = {
        "identities": [_identity(draft, index, candidate, rules) for index, candidate in enumerate(chosen)],
        "attributes": _attributes(draft, others, chosen, candidates, reserved),
        "timestamp": timestamp,
    }
    if not chosen:
        draft.explain(
            "/identities",
            "no field with distinct values looks like an ID or an email address; choose an identity",
        )
    return Suggestion(mapping, _kinds(chosen, rules), tuple(draft.reasons), stats.sampled)


def suggest_beside(stream: str, sketches: Iterable[bytes], bodies: Mapping[str, str]) -> Suggestion:
    """Suggest a mapping from sketches of field statistics, beside the active bodies, by definition id."""
    parsed = {name: orjson.loads(body) for name, body in bodies.items() if name != mapping_of(stream)}
    rules = parse_identity(parsed.pop(IDENTITY)) if IDENTITY in parsed else NO_IDENTITY
    used_names = {attribute["name"] for body in parsed.values() for attribute in body.get("attributes") or ()}
    return suggest(stream, merge_sketches(sketches), rules, used_names)


def _by_score(candidate: _Candidate) -> tuple[float, tuple[str, ...]]:
    return -candidate.score, candidate.facts.path


def _timestamp(draft: _Draft, fields: list[FieldFacts]) -> dict[str, Any] | None:
    candidates = []
    for facts in fields:
        grade = timestamp_grade(facts.path[0])
        for form in (TIMESTAMP, *EPOCHS):
            fits = facts.patterns.get(form, 0) >= MIN_SHARE * facts.present > 0 and draft.fill(facts) >= HIGH_FILL
            if fits and len(facts.path) == 1 and facts.path[0] and grade >= (1 if form == TIMESTAMP else 2):
                candidates.append((-grade, -draft.fill(facts), facts.path, form))
    if not candidates:
        draft.explain("/timestamp", "no field holds a timestamp in most messages, so the arrival time is used")
        return None
    _, _, path, form = min(candidates)
    facts = next(facts for facts in fields if facts.path == path)
    zone = ", in UTC unless it has an offset" if form == TIMESTAMP else ""
    what = "a date or a timestamp" if form == TIMESTAMP else f"a timestamp in {form}"
    draft.explain("/timestamp", f"{draft.presence(facts)}, and is {what}{zone}")
    return {"field": path[0], "format": ["auto" if form == TIMESTAMP else form], "time_zone": "UTC"}


def _candidates(draft: _Draft, fields: list[FieldFacts]) -> Iterator[_Candidate]:
    for facts in fields:
        scalars = facts.types.get("string", 0) + facts.types.get("integer", 0) + facts.types.get("null", 0)
        present = _named(facts)
        min_distinct = min(MIN_DISTINCT, max(2, MIN_DISTINCT_SHARE * present))
        if not present or scalars < MIN_SHARE * facts.seen or facts.distinct < min_distinct:
            continue
        name, fill = words(facts.path[-1]), draft.fill(facts)
        score = fill * (1 + min(1.0, facts.distinct / present)) / 2
        id_name = parse_id_name(draft.stream, facts.path)
        if facts.patterns.get("email", 0) >= MIN_SHARE * present and fill >= LOW_FILL:
            person = min(2, 2 * person_grade(name))
            yield _Candidate(facts, EMAIL, person, 0.95 * score * PERSON_FACTORS[person], "looks like an email address")
        elif id_name and fill >= (LOW_FILL if id_name.person == 2 else HIGH_FILL):
            score *= PERSON_FACTORS[id_name.person] * (0.75 if id_name.by_number else 1)
            yield _Candidate(facts, id_name.kind, id_name.person, score, "is named like an ID")
        elif facts.patterns.get(UUID, 0) >= MIN_SHARE * present and fill >= HIGH_FILL:
            person = person_grade(name)
            score *= 0.9 * PERSON_FACTORS[person]
            yield _Candidate(facts, identity_kind(name) or "uuid", person, score, "looks like a UUID")


def _named(facts: FieldFacts) -> int:
    """Return the number of values that are no placeholders."""
    return facts.present - facts.patterns.get(PLACEHOLDER, 0)


def _choose_identities(candidates: list[_Candidate]) -> list[_Candidate]:
    """Return the identities, the best first: all that surely identify the person, else one that may.

    Only the best email address is used: several addresses probably belong to several people.
    """
    emails = [candidate for candidate in candidates if candidate.kind == EMAIL][:1]
    ids = [candidate for candidate in candidates if candidate.kind != EMAIL]
    certain = [candidate for candidate in ids if candidate.person == 2]
    people = certain or [candidate for candidate in ids if candidate.person == 1][:1]
    chosen = [candidate for candidate in (*people, *emails) if candidate.person]
    return sorted(chosen or candidates[:1], key=_by_score)[:MAX_IDENTITIES]


def _identity(draft: _Draft, index: int, candidate: _Candidate, rules: IdentityRules) -> dict[str, Any]:
    facts = candidate.facts
    text = f"{draft.presence(facts)}, {candidate.reason}, and has about {facts.distinct:,} distinct values"
    placeholders = facts.present - _named(facts)
    blocked = f"; {_share(placeholders, facts.present)} of its values are placeholders" if placeholders else ""
    draft.explain(f"/identities/{index}", text + blocked)
    has_form = all(kind.format == EMAIL for kind in rules.kinds if kind.kind == EMAIL)
    if candidate.kind == EMAIL and not has_form:
        return {"expr": f"lower({expression_of(facts.path)})", "kind": EMAIL}
    return {**_source(facts), "kind": candidate.kind}


def _kinds(chosen: list[_Candidate], rules: IdentityRules) -> dict[str, Any]:
    body = identity_body(rules)
    kinds: list[dict[str, Any]] = body["kinds"]
    names = {kind.kind for kind in rules.kinds}
    max_rank = max((kind.rank for kind in rules.kinds), default=-1)
    for candidate in chosen:
        if candidate.kind not in names:
            max_rank = min(max_rank + 1, MAX_RANK)
            title = "Email address" if candidate.kind == EMAIL else title_of(candidate.facts.path)
            kinds.append({"kind": candidate.kind, "rank": max_rank, "title": title[:MAX_NAME_CHARACTERS]})
            names.add(candidate.kind)
    return dict(with_defaults(body | ({} if rules.kinds else {"blocked_values": None})))


def _attributes(
    draft: _Draft,
    fields: list[FieldFacts],
    chosen: list[_Candidate],
    candidates: list[_Candidate],
    reserved: Collection[str],
) -> list[dict[str, Any]]:
    name = attribute_name(draft.stream, MAX_NAME_CHARACTERS - len(COUNT_SUFFIX)) + COUNT_SUFFIX
    attributes: list[dict[str, Any]] = [{"name": name, "type": "integer", "merge": "count"}]
    draft.explain("/attributes/0", "the number of messages of this stream")
    used, identities = {name}, {candidate.facts.path for candidate in chosen}
    rejected = {candidate.facts.path for candidate in candidates} - identities
    parents = {facts.path[:-1] for facts in fields}
    for facts in fields:
        name = attribute_name(facts.name, MAX_NAME_CHARACTERS)
        if name in reserved:
            name = attribute_name(f"{draft.stream}_{facts.name}", MAX_NAME_CHARACTERS)
        is_container = facts.path in parents and facts.types.get("object", 0) == facts.present
        if facts.path in identities or is_container or len(attributes) == MAX_ATTRIBUTES:
            continue
        if not facts.present or not name or name in used:
            problem = "it never has a value" if not facts.present else "its name is not a unique attribute name"
            draft.explain("/attributes", f"{display_path(facts.path)} is excluded: {problem}")
            continue
        kind, reason = _type(facts)
        warning = "; as an identity it would link all profiles with the same value" if facts.path in rejected else ""
        draft.explain(f"/attributes/{len(attributes)}", f"{draft.presence(facts)}; {reason}{warning}")
        attributes.append({"name": name, **_source(facts), "type": kind, "merge": "latest"})
        used.add(name)
    return attributes


def _type(facts: FieldFacts) -> tuple[str, str]:
    """Return the type of nearly all values of a field, and the reason."""
    types, patterns = facts.types.get, facts.patterns.get
    fractions = types("number", 0) + patterns("number", 0)
    whole = types("integer", 0) + patterns("integer", 0)
    texts = types("string", 0) - patterns("blank", 0)
    numbers = 0 if is_code(facts.path[-1]) and texts else fractions + whole
    for kind, count, what in (
        ("boolean", types("boolean", 0) + patterns("boolean", 0), "true or false"),
        ("integer", 0 if fractions else numbers, "whole numbers"),
        ("number", numbers, "numbers"),
        ("timestamp", patterns(TIMESTAMP, 0), "dates or timestamps"),
        ("string", texts, "texts"),
    ):
        if count >= MIN_SHARE * facts.present:
            others = "" if count == facts.present else "; other values become dead letters"
            return kind, f"{_share(count, facts.present)} of its values are {what}{others}"
    return "json", "its values have several types, or are objects or lists"


def _source(facts: FieldFacts) -> dict[str, str]:
    if len(facts.path) == 1 and facts.path[0]:
        return {"field": facts.path[0]}
    return {"expr": expression_of(facts.path)}


def _share(part: int, whole: int) -> str:
    """Return a share in percent; 100 % only for all, and 0 % only for none."""
    percent = 100 * part / whole
    return f"{percent:.0f} %" if part == whole or 1 <= percent <= 99 else "over 99 %" if percent > 99 else "under 1 %"
