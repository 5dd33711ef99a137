"""Phone numbers as E.164 digits."""

import pytest

from projections.identities.phone_numbers import (
    BAD,
    EXTENSION,
    IMPOSSIBLE,
    NO_PREFIX,
    NO_REGION,
    REGIONS,
    SHORT,
    phone_form,
)
from tests.phone_plans import PLANS, phone_plans


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("+43 664 123 45 67", "", "+436641234567"),
        ("+43-664/123.45.67", "", "+436641234567"),
        ("+43 (0)664 1234567", "", "+436641234567"),
        ("+43-(0)-664-1234567", "", "+436641234567"),
        ("+43 0664 1234567", "", "+436641234567"),
        ("+43 (664) 1234567", "", "+436641234567"),
        ("(+43) 664 1234567", "", "+436641234567"),
        ("tel:+43-664-1234567", "", "+436641234567"),
        ("+39 (0)6 1234567", "", "+39061234567"),  # part of Italian numbers
        ("+43\u00a0664\u20111234567", "", "+436641234567"),
        ("\uff0b\uff14\uff13\u3000664\uff0d1234567", "", "+436641234567"),  # full width
        ("+1 (555) 555-0100", "", "+15555550100"),  # with a country code the length suffices
        ("+800 1234 5678", "", "+80012345678"),
        ("0664 1234567", "AT", "+436641234567"),
        ("0043 664 1234567", "AT", "+436641234567"),
        ("0043 (0) 664 1234567", "AT", "+436641234567"),
        ("+39 06 1234567", "AT", "+39061234567"),
        ("(415) 555-0123", "US", "+14155550123"),
        ("1 415 555 0123", "US", "+14155550123"),
        ("011 43 664 1234567", "CA", "+436641234567"),
        ("06 1234 5678", "IT", "+390612345678"),
        ("612 34 56 78", "ES", "+34612345678"),
        ("06 1 234 5678", "HU", "+3612345678"),
        ("98765 43210", "IN", "+919876543210"),
        ("098765 43210", "IN", "+919876543210"),
        ("6 12 34 56 78", "FR", "+33612345678"),
        ("8 (912) 345-67-89", "RU", "+79123456789"),
        ("912 345 67 89", "RU", "+79123456789"),
        ("810 43 664 1234567", "RU", "+436641234567"),
        ("0412 345 678", "AU", "+61412345678"),
        ("0011 43 664 1234567", "AU", "+436641234567"),
        ("138 0013 8000", "CN", "+8613800138000"),  # written without the 0 that its fixed lines have
        ("(11) 91234-5678", "BR", "+5511912345678"),
        ("011 15 1234 5678", "AR", "+5491112345678"),
        ("\u0660\u0661\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668", "EG", "+201012345678"),
    ],
)
def test_a_number_is_international(text: str, region: str, number: str) -> None:
    assert phone_form(text, region) == (number, "")


@pytest.mark.parametrize(
    ("text", "region", "fault"),
    [
        ("0664 1234567", "", NO_REGION),  # of which country?
        ("436641234567", "", NO_REGION),
        ("664 1234567", "AT", NO_PREFIX),  # dialled without the area code's 0
        ("436641234567", "AT", NO_PREFIX),  # lacks the +
        ("491700000000", "DE", NO_PREFIX),  # a number that was 4.917e11
        ("30 123456", "DE", NO_PREFIX),  # of Berlin, or a local number of another town
        ("1 234 5678", "HU", NO_PREFIX),
        ("919876543210", "IN", NO_PREFIX),
        ("112", "AT", SHORT),
        ("0800", "AT", IMPOSSIBLE),
        ("+43 112", "", SHORT),
        ("555-0123", "US", SHORT),
        ("12345", "DK", SHORT),
        ("00", "AT", SHORT),
        ("115 555 0123", "US", IMPOSSIBLE),
        ("08765 43210", "IN", IMPOSSIBLE),
        ("0 123", "AT", IMPOSSIBLE),
        ("06 1234567", "ES", IMPOSSIBLE),
        ("0664 1234567 0664 1234567", "AT", IMPOSSIBLE),
        ("+0664 1234567", "AT", IMPOSSIBLE),
        ("+999 123456", "", IMPOSSIBLE),
        ("+43 00664 1234567", "", IMPOSSIBLE),
        ("+44 0000 000000", "", IMPOSSIBLE),
        ("+375 88 8172949401", "", IMPOSSIBLE),  # a prefix remains where one was removed
        ("+52 1 55 1234 5678", "", IMPOSSIBLE),  # mobile numbers had a 1 until 2019
        ("+1234567890123456", "", IMPOSSIBLE),
        ("+49 11111111111111", "", IMPOSSIBLE),  # 16 digits
        ("1234567", "AX", NO_PREFIX),
        ("1234567", "AC", IMPOSSIBLE),
        ("1 2345", "GS", IMPOSSIBLE),
        ("+43 664 1234567 ext. 5", "", EXTENSION),
        ("0664/1234567 x5", "AT", EXTENSION),
        ("+43 664 1234567;ext=5", "", EXTENSION),
        ("x5", "AT", BAD),
        ("1-800-FLOWERS", "US", BAD),
        ("4.917E+11", "DE", BAD),
        ("++436641234567", "", BAD),
        ("43+6641234567", "", BAD),
        ("0664 1234567, 01 123456", "AT", BAD),
        ("+", "AT", BAD),
        ("-", "AT", BAD),
        (" " * 50 + "+436641234567", "", BAD),
    ],
)
def test_other_texts_are_refused_with_a_reason(text: str, region: str, fault: str) -> None:
    assert phone_form(text, region) == (None, fault)


@pytest.mark.parametrize("region", REGIONS)
def test_each_region_has_a_plan(region: str) -> None:
    assert phone_form("1234567", region).fault in {"", NO_PREFIX, SHORT, IMPOSSIBLE}


def test_the_numbering_plans_are_those_of_the_pinned_version() -> None:
    """If they change, `make generate` shows the regions: name them in the changelog, as profiles need a rebuild."""
    assert phone_plans() == PLANS.read_text("utf-8")
