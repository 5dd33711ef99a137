"""Suggest a mapping for a stream from the statistics of its fields, with a reason for each choice.

It selects identities cautiously: all identities of a message are linked to one profile, so a wrong one would merge
unrelated profiles. The user reviews the suggestion before it is applied.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import orjson

from projections.fields.field_names import (
    EMAIL,
    FieldPath,
    attribute_name,
    display_path,
    expression_of,
    identity_kind,
    is_code,
    is_phone,
    parse_id_name,
    person_grade,
    timestamp_grade,
    title_of,
    words,
)
from projections.fields.field_stats import FieldFacts, FieldStats, merge_sketches
from projections.fields.text_patterns import DIGITS, EPOCHS, INTEGER, PHONE, PLACEHOLDER, TIMESTAMP, UUID
from projections.identities.value_rules import with_defaults
from projections.mapping.mapping import (
    DEFAULT_FAN_IN_LIMIT,
    MAX_ATTRIBUTES,
    MAX_BLOCKED_VALUES,
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
MAX_SHARED: Final = 0.05  # of the values of an identity may link too many others
MIN_PHONE_DIGITS: Final = 7  # shorter numbers are extensions
CONTACTS: Final = {EMAIL: "Email address", PHONE: "Phone number"}  # formats of identities, and titles of their kinds
COUNT_SUFFIX: Final = "_messages"
SHARED_VALUES: Final = "; as an identity it would link all profiles with the same value"
NONE_SHARED: Final[Mapping[str, Sequence[str]]] = MappingProxyType({})


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
    """A candidate for an identity; `form` is a key of `CONTACTS`, or empty."""

    facts: FieldFacts
    kind: str
    person: int
    score: float
    reason: str
    form: str = ""


@dataclass(slots=True)
class _Draft:
    """The stream, the rules beside which a mapping is suggested, and the reasons collected so far."""

    stream: str
    sampled: int
    rules: IdentityRules
    shared: Mapping[str, Sequence[str]]  # by kind
    reasons: list[Reason] = field(default_factory=list)

    def explain(self, pointer: str, text: str) -> None:
        self.reasons.append(Reason(pointer, text))

    def fill(self, facts: FieldFacts) -> float:
        return facts.present / self.sampled

    def presence(self, facts: FieldFacts) -> str:
        return f"{display_path(facts.path)} is in {_share(facts.present, self.sampled)} of {self.sampled:,} messages"


def suggest(
    stream: str,
    stats: FieldStats,
    rules: IdentityRules = NO_IDENTITY,
    reserved: Collection[str] = (),
    shared: Mapping[str, Sequence[str]] = NONE_SHARED,
) -> Suggestion:
    """Suggest a mapping, and identity rules that add its kinds to the given `rules`.

    `reserved` are the attribute names of other streams. The mapping avoids them, so that two streams share an attribute
    only by intention. `shared` are the values, by kind, that link too many others and are not blocked yet: the identity
    rules block them, and a kind that has many of them is not used.
    """
    draft = _Draft(stream, max(stats.sampled, 1), rules, shared)
    fields = [facts for facts in stats.fields() if "\0" not in facts.name]  # rules can't name such a field
    timestamp = _timestamp(draft, fields)
    others = [facts for facts in fields if timestamp is None or facts.path != (timestamp["field"],)]
    candidates = sorted(_candidates(draft, others), key=_by_score)
    objections = _objections(draft, candidates)
    chosen = _choose_identities([candidate for candidate in candidates if candidate.facts.path not in objections])
    chosen = _without_fan_in(draft, chosen, objections)
    warnings = {candidate.facts.path: SHARED_VALUES for candidate in candidates} | objections
    mapping = {
        "identities": [_identity(draft, index, candidate) for index, candidate in enumerate(chosen)],
        "attributes": _attributes(draft, others, chosen, warnings, reserved),
        "timestamp": timestamp,
    }
    if not chosen:
        draft.explain(
            "/identities",
            "no field with distinct values looks like an ID or an email address; choose an identity",
        )
    return Suggestion(mapping, _kinds(draft, chosen), tuple(draft.reasons), stats.sampled)


def suggest_beside(
    stream: str,
    sketches: Iterable[bytes],
    bodies: Mapping[str, str],
    shared: Mapping[str, Sequence[str]] = NONE_SHARED,
) -> Suggestion:
    """Suggest a mapping from sketches of field statistics, beside the active bodies, by definition id."""
    parsed = {name: orjson.loads(body) for name, body in bodies.items() if name != mapping_of(stream)}
    rules = parse_identity(parsed.pop(IDENTITY)) if IDENTITY in parsed else NO_IDENTITY
    used_names = {attribute["name"] for body in parsed.values() for attribute in body.get("attributes") or ()}
    return suggest(stream, merge_sketches(sketches), rules, used_names, shared)


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
        present = _value_count(facts)
        min_distinct = min(MIN_DISTINCT, max(2, MIN_DISTINCT_SHARE * present))
        if not present or scalars < MIN_SHARE * facts.seen or facts.distinct < min_distinct:
            continue
        name, fill = words(facts.path[-1]), draft.fill(facts)
        score = fill * (1 + min(1.0, facts.distinct / present)) / 2
        id_name = parse_id_name(draft.stream, facts.path)
        form = _contact_form(facts)
        if form and fill >= LOW_FILL:
            person = min(2, 2 * person_grade(name))
            score *= (0.95 if form == EMAIL else 0.9) * PERSON_FACTORS[person]
            yield _Candidate(facts, _kind_of(draft.rules, form), person, score, _looks_like(facts, form), form)
        elif id_name and fill >= (LOW_FILL if id_name.person == 2 else HIGH_FILL):
            score *= PERSON_FACTORS[id_name.person] * (0.75 if id_name.by_number else 1)
            yield _Candidate(facts, id_name.kind, id_name.person, score, "is named like an ID")
        elif facts.patterns.get(UUID, 0) >= MIN_SHARE * present and fill >= HIGH_FILL:
            person = person_grade(name)
            score *= 0.9 * PERSON_FACTORS[person]
            yield _Candidate(facts, identity_kind(name) or "uuid", person, score, "looks like a UUID")


def _contact_form(facts: FieldFacts) -> str:
    """Return the format of a field of addresses or phone numbers; empty for others."""
    counts = facts.patterns.get
    if counts(EMAIL, 0) >= MIN_SHARE * _value_count(facts):
        return EMAIL
    numbers = counts(PHONE, 0)
    is_long = max(facts.max_length or 0, len(str(int(facts.max_value or 0)))) >= MIN_PHONE_DIGITS
    if is_phone(facts.path[-1]) and is_long:
        numbers += counts(DIGITS, 0) + counts(INTEGER, 0) + facts.types.get("integer", 0)
    return PHONE if numbers >= MIN_SHARE * _value_count(facts) else ""


def _kind_of(rules: IdentityRules, form: str) -> str:
    """Return the identity type of a format: the one of the highest priority in the rules, else a new one."""
    return min(((kind.rank, kind.kind) for kind in rules.kinds if kind.format == form), default=(0, form))[1]


def _looks_like(facts: FieldFacts, form: str) -> str:
    if form == EMAIL:
        return "looks like an email address"
    national = _value_count(facts) - facts.patterns.get(PHONE, 0)
    if not national:
        return "looks like a phone number"
    share = _share(national, _value_count(facts))
    return (
        f"looks like a phone number ({share} without a country code, which are rejected unless its type has a region)"
    )


def _value_count(facts: FieldFacts) -> int:
    """Return the number of values without placeholders such as `N/A`."""
    return facts.present - facts.patterns.get(PLACEHOLDER, 0)


def _objections(draft: _Draft, candidates: list[_Candidate]) -> dict[FieldPath, str]:
    """Return why candidates cannot be identities, by path."""
    objections = {}
    for candidate in candidates:
        facts, shared = candidate.facts, draft.shared.get(candidate.kind, ())
        if 2 * _value_count(facts) < facts.present:
            share = _share(facts.present - _value_count(facts), facts.present)
            objections[facts.path] = f"; it is no identity, as {share} of its values are placeholders"
        elif len(shared) > MAX_SHARED * facts.distinct:
            count = f"{len(shared):,} values of the identity type {candidate.kind}"
            objections[facts.path] = f"; it is no identity, as {count} link too many others"
    return objections


def _without_fan_in(draft: _Draft, chosen: list[_Candidate], objections: dict[FieldPath, str]) -> list[_Candidate]:
    """Return the identities without those that would link too many others on average; adds the objections."""
    limits = {kind.kind: kind.fan_in_limit for kind in draft.rules.kinds}
    most = max((candidate.facts.distinct for candidate in chosen), default=0)
    for candidate in chosen:
        links = most / candidate.facts.distinct
        if links > limits.get(candidate.kind, DEFAULT_FAN_IN_LIMIT):
            objections[candidate.facts.path] = (
                f"; as an identity each of its values would link about {links:,.0f} others"
            )
    return [candidate for candidate in chosen if candidate.facts.path not in objections]


def _choose_identities(candidates: list[_Candidate]) -> list[_Candidate]:
    """Return the identities, the best first: all that surely identify the person, else one that may.

    Only the best address and the best phone number are used: several of them probably belong to several people.
    """
    contacts = [next((item for item in candidates if item.form == form), None) for form in CONTACTS]
    ids = [candidate for candidate in candidates if not candidate.form]
    certain = [candidate for candidate in ids if candidate.person == 2]
    people = certain or [candidate for candidate in ids if candidate.person == 1][:1]
    chosen = [candidate for candidate in (*people, *contacts) if candidate and candidate.person]
    return sorted(chosen or candidates[:1], key=_by_score)[:MAX_IDENTITIES]


def _identity(draft: _Draft, index: int, candidate: _Candidate) -> dict[str, Any]:
    facts = candidate.facts
    text = f"{draft.presence(facts)}, {candidate.reason}, and has about {facts.distinct:,} distinct values"
    placeholders, shared = facts.present - _value_count(facts), len(draft.shared.get(candidate.kind, ()))
    text += f"; {_share(placeholders, facts.present)} of its values are placeholders" if placeholders else ""
    text += f"; the identity rules block {shared:,} of its values, which link too many others" if shared else ""
    draft.explain(f"/identities/{index}", text)
    has_form = all(kind.format == EMAIL for kind in draft.rules.kinds if kind.kind == candidate.kind)
    if candidate.form == EMAIL and not has_form:
        return {"expr": f"lower({expression_of(facts.path)})", "kind": candidate.kind}
    return {**_source(facts), "kind": candidate.kind}


def _kinds(draft: _Draft, chosen: list[_Candidate]) -> dict[str, Any]:
    """Return the body of the identity rules with the kinds of the identities, and their shared values blocked."""
    body = identity_body(draft.rules)
    kinds = {kind["kind"]: kind for kind in body["kinds"]}
    max_rank = max((kind.rank for kind in draft.rules.kinds), default=-1)
    for candidate in chosen:
        if candidate.kind not in kinds:
            max_rank = min(max_rank + 1, MAX_RANK)
            title = CONTACTS.get(candidate.form) or title_of(candidate.facts.path)[:MAX_NAME_CHARACTERS]
            kinds[candidate.kind] = {"kind": candidate.kind, "rank": max_rank, "title": title}
            if candidate.form:
                kinds[candidate.kind]["format"] = candidate.form
        if shared := draft.shared.get(candidate.kind):
            kind = kinds[candidate.kind]
            kind["blocked_values"] = sorted({*kind.get("blocked_values", ()), *shared})[:MAX_BLOCKED_VALUES]
    body["kinds"] = list(kinds.values())
    return dict(with_defaults(body | ({} if draft.rules.kinds else {"blocked_values": None})))


def _attributes(
    draft: _Draft,
    fields: list[FieldFacts],
    chosen: list[_Candidate],
    warnings: Mapping[FieldPath, str],
    reserved: Collection[str],
) -> list[dict[str, Any]]:
    name = attribute_name(draft.stream, MAX_NAME_CHARACTERS - len(COUNT_SUFFIX)) + COUNT_SUFFIX
    attributes: list[dict[str, Any]] = [{"name": name, "type": "integer", "merge": "count"}]
    draft.explain("/attributes/0", "the number of messages of this stream")
    used, identities = {name}, {candidate.facts.path for candidate in chosen}
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
        text = f"{draft.presence(facts)}; {reason}{warnings.get(facts.path, '')}"
        draft.explain(f"/attributes/{len(attributes)}", text)
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
