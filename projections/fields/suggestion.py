"""A first mapping of a stream, suggested from what is known of its fields: each choice with its reason.

It is cautious with identities, as those of one message are taken to be of one person: a second one that isn't would
join people who have nothing to do with each other. It never says more than a person can correct before it is applied.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from projections.fields.field_names import (
    EMAIL,
    attribute_name,
    expression_of,
    id_named,
    is_code,
    kind_of,
    person_grade,
    shown,
    tells_time,
    title_of,
    words,
)
from projections.fields.field_stats import FieldFacts, FieldStats
from projections.fields.text_patterns import EPOCHS, TIMESTAMP
from projections.mapping.mapping import MAX_ATTRIBUTES, MAX_IDENTITIES, MAX_NAME, MAX_RANK, NO_IDENTITY, IdentityRules

ENOUGH: Final = 0.9  # of the values have to be of a type: files write `NA` where there is nothing
HIGH_FILL: Final = 0.5
SOME_FILL: Final = 0.05
MANY: Final = 50  # different values are enough for an id, however many messages there were
FEW: Final = 0.05  # of the values; below that they are different too seldom for an id, unless they are many
FACTORS: Final = (0.3, 0.8, 1.0)  # for how far a name is that of a person
COUNTED: Final = "_messages"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: in plain words, for a part of the mapping (a JSON pointer)."""

    pointer: str
    text: str


class Suggestion(NamedTuple):
    """Bodies of a mapping and of identity rules for it. Without a field that could be an identity, both lack one."""

    mapping: dict[str, Any]
    identity: dict[str, Any]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A field that could be an identity."""

    facts: FieldFacts
    kind: str
    person: int
    score: float
    why: str


@dataclass(slots=True)
class _Draft:
    """What is suggested so far."""

    stream: str
    looked: int
    reasons: list[Reason] = field(default_factory=list)

    def say(self, pointer: str, text: str) -> None:
        self.reasons.append(Reason(pointer, text))

    def fill(self, facts: FieldFacts) -> float:
        return facts.given / self.looked

    def presence(self, facts: FieldFacts) -> str:
        return f"{shown(facts.path)} is in {_share(facts.given, self.looked)} of {self.looked:,} messages"


def suggest(
    stream: str, stats: FieldStats, rules: IdentityRules = NO_IDENTITY, taken: Collection[str] = ()
) -> Suggestion:
    """Return a first mapping of a stream, and identity rules that have its kinds beside those of the given `rules`.

    `taken` are names of attributes that mappings of other streams have: this one gets others, so that nothing is said
    of one attribute by two streams without anyone having wanted it.
    """
    draft = _Draft(stream, max(stats.looked, 1))
    given = [each for each in stats.fields() if "\0" not in each.name]  # of that nothing could be written
    timestamp = _timestamp(draft, given)
    others = [each for each in given if timestamp is None or each.path != (timestamp["field"],)]
    candidates = sorted(_candidates(draft, others), key=lambda each: (-each.score, each.facts.path))
    chosen = _chosen(candidates)
    mapping = {
        "identities": [_identity(draft, place, each) for place, each in enumerate(chosen)],
        "attributes": _attributes(draft, others, chosen, candidates, taken),
        "timestamp": timestamp,
    }
    if not chosen:
        draft.say(
            "/identities",
            "no field with different values looks like an id or an e-mail address: name what the messages are about",
        )
    return Suggestion(mapping, _kinds(chosen, rules), tuple(draft.reasons))


def _timestamp(draft: _Draft, given: list[FieldFacts]) -> dict[str, Any] | None:
    found = []
    for each in given:
        told = tells_time(each.path[0])
        for form in (TIMESTAMP, *EPOCHS):
            fits = each.looks.get(form, 0) >= ENOUGH * each.given > 0 and draft.fill(each) >= HIGH_FILL
            if fits and len(each.path) == 1 and each.path[0] and told >= (1 if form == TIMESTAMP else 2):
                found.append((-told, -draft.fill(each), each.path, form))
    if not found:
        draft.say("/timestamp", "no field is a time in most messages: the time when they came counts")
        return None
    _, _, path, form = min(found)
    facts = next(each for each in given if each.path == path)
    zone = ", read as UTC where it names no other zone" if form == TIMESTAMP else ""
    what = "a date or a time" if form == TIMESTAMP else f"a number of the format {form} in this century"
    draft.say("/timestamp", f"{draft.presence(facts)}, and is {what}{zone}")
    return {"field": path[0], "format": ["auto" if form == TIMESTAMP else form], "time_zone": "UTC"}


def _candidates(draft: _Draft, given: list[FieldFacts]) -> Iterator[_Candidate]:
    for each in given:
        single = each.types.get("string", 0) + each.types.get("integer", 0) + each.types.get("null", 0)
        if single < ENOUGH * each.seen or each.distinct < min(MANY, max(2, FEW * each.given)):
            continue
        name, fill = words(each.path[-1]), draft.fill(each)
        various = min(1.0, each.distinct / each.given)
        score = fill * (1 + various) / 2
        named = id_named(draft.stream, each.path)
        if each.looks.get("email", 0) >= ENOUGH * each.given and fill >= SOME_FILL:
            person = min(2, 2 * person_grade(name))
            yield _Candidate(each, EMAIL, person, 0.95 * score * FACTORS[person], "looks like an e-mail address")
        elif named and fill >= (SOME_FILL if named.person == 2 else HIGH_FILL):
            score *= FACTORS[named.person] * (0.75 if named.by_number else 1)
            yield _Candidate(each, named.kind, named.person, score, "is named like an id")
        elif each.looks.get("uuid", 0) >= ENOUGH * each.given and fill >= HIGH_FILL:
            person = person_grade(name)
            score *= 0.9 * FACTORS[person]
            yield _Candidate(each, kind_of(name) or "uuid", person, score, "looks like a UUID")


def _chosen(candidates: list[_Candidate]) -> list[_Candidate]:
    """Return the identities, the best first: all that are the person's by their names, else the one that may be.

    Of e-mail addresses only the best: several are most likely those of several people.
    """
    emails = [each for each in candidates if each.kind == EMAIL][:1]
    ids = [each for each in candidates if each.kind != EMAIL]
    people = [each for each in ids if each.person == 2] or [each for each in ids if each.person == 1][:1]
    chosen = [each for each in (*people, *emails) if each.person]
    return sorted(chosen or candidates[:1], key=lambda each: (-each.score, each.facts.path))[:MAX_IDENTITIES]


def _identity(draft: _Draft, place: int, candidate: _Candidate) -> dict[str, Any]:
    facts = candidate.facts
    text = f"{draft.presence(facts)}, {candidate.why}, and has about {facts.distinct:,} different values"
    draft.say(f"/identities/{place}", text)
    if candidate.kind == EMAIL:
        return {"expr": f"lower({expression_of(facts.path)})", "kind": EMAIL}
    return {**_source(facts), "kind": candidate.kind}


def _kinds(chosen: list[_Candidate], rules: IdentityRules) -> dict[str, Any]:
    kinds = [{"kind": each.kind, "rank": each.rank, "title": each.title} for each in rules.kinds]
    known, free = {each.kind for each in rules.kinds}, {each.rank for each in rules.kinds}
    for each in chosen:
        if each.kind not in known:
            rank = min(max(free, default=-1) + 1, MAX_RANK)
            title = "E-mail address" if each.kind == EMAIL else title_of(each.facts.path)
            kinds.append({"kind": each.kind, "rank": rank, "title": title[:MAX_NAME]})
            known.add(each.kind)
            free.add(rank)
    return {"kinds": kinds, "max_identities": rules.max_identities}


def _attributes(
    draft: _Draft,
    given: list[FieldFacts],
    chosen: list[_Candidate],
    candidates: list[_Candidate],
    taken: Collection[str],
) -> list[dict[str, Any]]:
    name = attribute_name(draft.stream, MAX_NAME - len(COUNTED)) + COUNTED
    found: list[dict[str, Any]] = [{"name": name, "type": "integer", "merge": "count"}]
    draft.say("/attributes/0", "how many messages of this stream there were")
    used, identities = {name}, {each.facts.path for each in chosen}
    passed = {each.facts.path for each in candidates} - identities
    parents = {each.path[:-1] for each in given}
    for each in given:
        name = attribute_name(each.name, MAX_NAME)
        if name in taken:
            name = attribute_name(f"{draft.stream}_{each.name}", MAX_NAME)
        inside = each.path in parents and each.types.get("object", 0) == each.given
        if each.path in identities or inside or len(found) == MAX_ATTRIBUTES:
            continue
        if not each.given or not name or name in used:
            why = "never had a value" if not each.given else "has no name that only one attribute would have"
            draft.say("/attributes", f"{shown(each.path)} is left out: it {why}")
            continue
        kind, why = _type(each)
        also = "; as an identity it would join all that share a value" if each.path in passed else ""
        draft.say(f"/attributes/{len(found)}", f"{draft.presence(each)}; {why}{also}")
        found.append({"name": name, **_source(each), "type": kind, "merge": "latest"})
        used.add(name)
    return found


def _type(facts: FieldFacts) -> tuple[str, str]:
    """Return the type that nearly all values of a field have, and why."""
    types, looks = facts.types.get, facts.looks.get
    fractions = types("number", 0) + looks("number", 0)
    whole = types("integer", 0) + looks("integer", 0)
    texts = types("string", 0) - looks("blank", 0)
    numbers = 0 if is_code(facts.path[-1]) and texts else fractions + whole
    for kind, count, what in (
        ("boolean", types("boolean", 0) + looks("boolean", 0), "true or false"),
        ("integer", 0 if fractions else numbers, "whole numbers"),
        ("number", numbers, "numbers"),
        ("timestamp", looks(TIMESTAMP, 0), "dates or times"),
        ("string", texts, "texts"),
    ):
        if count >= ENOUGH * facts.given:
            rest = "" if count == facts.given else ", and what isn't becomes a dead letter"
            return kind, f"{_share(count, facts.given)} of its values are {what}{rest}"
    return "json", "its values are of several types, or objects or lists"


def _source(facts: FieldFacts) -> dict[str, str]:
    if len(facts.path) == 1 and facts.path[0]:
        return {"field": facts.path[0]}
    return {"expr": expression_of(facts.path)}


def _share(part: int, whole: int) -> str:
    """Return a share in percent; never 100 % of what isn't all, nor 0 % of what isn't nothing."""
    percent = 100 * part / whole
    return f"{percent:.0f} %" if part == whole or 1 <= percent <= 99 else "over 99 %" if percent > 99 else "under 1 %"
