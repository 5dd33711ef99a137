"""A profile as users see it: keys without ranks, values and links with the message behind each."""

from projections.profiles.crdt import Registers, add, count, latest, unite
from projections.profiles.profile_view import (
    AttributeValue,
    Evidence,
    IdentityLink,
    Profile,
    kind_of,
    profile_of,
    ranked_key,
    shown_key,
)

KEY = "00:email:a:b"


def test_a_profile_has_the_message_behind_every_value() -> None:
    registers: Registers = {}
    latest(registers, "latest:city", (KEY, 0), "Graz", 7, "upload/3", 2)
    count(registers, "count:visits", (KEY, 0), 1, 8, "messages.realtime:2", 41)
    add(registers, "sum:spent", (KEY, 0), 1_500_000, 8, "upload/3", 1)
    unite(registers, "union:tags", (KEY, 0), "b", 3, "upload/1", 0)
    unite(registers, "union:tags", (KEY, 0), "a", 2, "upload/1", 1)
    assert profile_of(KEY, registers, {f"05:cookie:c\0{KEY}": [9, "upload/3", 4]}) == Profile(
        key="email:a:b",
        identities=("email:a:b", "cookie:c"),
        attributes=(
            AttributeValue("city", "latest", "Graz", Evidence(7, "upload/3/2", "upload")),
            AttributeValue("spent", "sum", 1.5, Evidence(8, "upload/3/1", "upload")),
            AttributeValue("tags", "union", ["a", "b"], Evidence(3, "upload/1/0", "upload")),
            AttributeValue("visits", "count", 1, Evidence(8, "messages.realtime:2/41", None)),
        ),
        links=(IdentityLink("cookie:c", "email:a:b", Evidence(9, "upload/3/4", "upload")),),
    )


def test_message_ids_of_outside_producers_name_no_job() -> None:
    registers: Registers = {}
    latest(registers, "latest:city", (KEY, 0), "Graz", 7, "orders/4711/", 0)
    latest(registers, "latest:age", (KEY, 0), 7, 7, "visit-4711", 0)
    age, city = profile_of(KEY, registers, {}).attributes
    assert (age.evidence.message_id, age.evidence.job_id) == ("visit-4711/0", None)
    assert (city.evidence.message_id, city.evidence.job_id) == ("orders/4711//0", None)


def test_shown_keys_have_no_rank() -> None:
    assert ranked_key("email:a:b", {"email": 0, "cookie": 5}) == KEY
    assert shown_key(KEY) == "email:a:b"
    assert kind_of(KEY) == "email"
