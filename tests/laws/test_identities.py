"""Laws of identity values: a normal form is final, and spellings of one value have one key."""

from unicodedata import normalize

from hypothesis import given
from hypothesis import strategies as st

from projections.identities.blocked_values import DEFAULT_BLOCKED_VALUES, folded
from projections.identities.normal_form import FORMATS, normal_form_of
from projections.identities.phone_numbers import REGIONS, phone_form
from projections.identities.value_rules import BLOCKED, ValueRules
from projections.mapping.mapper import make_mapper
from projections.mapping.mapping import parse_identity, parse_mapping

EDGES = [
    "0",
    "null",
    "N/A",
    "a@b.example",
    "a@xn--bcher-kva.",
    "\uff41",
    "\u3002",
    "+43 664 1234567",
    "\u200b",
    "\uff10",
    "\u2100",
    "\ufeff",
    "e\u0301",
    "\u0130",
    " ",
    "-",
    "{",
    "\0",
]
texts = st.lists(st.one_of(st.sampled_from(EDGES), st.characters()), max_size=6).map("".join)
forms = st.sampled_from(FORMATS)


@given(texts, forms)
def test_a_normal_form_is_its_own_normal_form(text: str, form: str) -> None:
    rules = ValueRules(form, "AT", DEFAULT_BLOCKED_VALUES)
    value, fault = rules.read(text.strip())
    if not fault and value:
        assert rules.read(value) == (value, "")
    if fault == BLOCKED:
        assert folded(value) == value
    normal = normal_form_of(form, "AT")
    once = normal(text)
    if once is not None and form != "exact":
        assert normal(once) == once


@given(
    st.sampled_from(["+", "+375", "+54", "+7 8", "00", "0", "8", "1", ""]),
    st.text("0123456789", min_size=4, max_size=14),
    st.sampled_from(REGIONS),
)
def test_a_phone_number_is_the_same_in_every_region(prefix: str, digits: str, region: str) -> None:
    number, _ = phone_form(prefix + digits, region)
    for other in ("", "AT", region) if number else ():
        assert phone_form(str(number), other) == (number, "")


@given(texts, st.sampled_from(["text", "email"]))
def test_spellings_that_look_alike_are_one_value(text: str, form: str) -> None:
    rules = ValueRules(form, "", DEFAULT_BLOCKED_VALUES)
    spelled = "\u200b " + normalize("NFD", text.replace("\u200b", "")) + "\ufeff"
    assert rules.read(spelled) == rules.read(text)


@given(texts, forms)
def test_the_mapper_agrees_with_the_rules(text: str, form: str) -> None:
    """Its shortcuts change nothing."""
    body = {"kinds": [{"kind": "x", "rank": 0, "format": form}], "blocked_values": list(DEFAULT_BLOCKED_VALUES)}
    identity = parse_identity(body)
    mapper = make_mapper("s", parse_mapping({"identities": [{"field": "id", "kind": "x"}]}), identity)
    value, fault = identity.value_rules(identity.kinds[0]).read(text.strip())
    mapped = mapper.map({"id": text}, 0)
    faults, blocked = mapper.drain_faults(), mapper.drain_blocked()
    if mapped:
        assert (mapped[0], fault, faults, blocked) == (f"00:x:{value}", "", {}, {})
    elif fault == BLOCKED:
        assert (faults, blocked) == ({}, {("x", value): 1})
    else:
        assert not blocked
        assert [code for _, code in faults] == ([fault] if fault else ["bad_text"] if value else [])
