"""Phone numbers as E.164 digits."""

import pytest

from projections.identities.phone_numbers import REGIONS, international_form


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("+43 664 123 45 67", "", "+436641234567"),
        ("+43-664/123.45.67", "", "+436641234567"),
        ("+43 (0)664 1234567", "", "+436641234567"),
        ("+43 (664) 1234567", "", "+436641234567"),
        ("+39 (0)6 1234567", "", "+39061234567"),  # part of Italian numbers
        ("+43\u00a0664\u20111234567", "", "+436641234567"),
        ("0664 1234567", "AT", "+436641234567"),
        ("0043 664 1234567", "AT", "+436641234567"),
        ("0664 1234567", "", None),  # of which country?
        ("664 1234567", "AT", None),  # dialled without the area code's 0
        ("436641234567", "AT", None),  # lacks the +
        ("436641234567", "", None),
        ("(415) 555-0123", "US", "+14155550123"),
        ("1 415 555 0123", "US", "+14155550123"),
        ("011 43 664 1234567", "CA", "+436641234567"),
        ("555-0123", "US", None),
        ("115 555 0123", "US", None),
        ("06 1234 5678", "IT", "+390612345678"),
        ("612 34 56 78", "ES", "+34612345678"),
        ("06 1 234 5678", "HU", "+3612345678"),
        ("1 234 5678", "HU", None),
        ("98765 43210", "IN", "+919876543210"),
        ("098765 43210", "IN", "+919876543210"),
        ("08765 43210", "IN", None),
        ("919876543210", "IN", None),
        ("6 12 34 56 78", "FR", "+33612345678"),
        ("8 (912) 345-67-89", "RU", "+79123456789"),
        ("912 345 67 89", "RU", "+79123456789"),
        ("810 43 664 1234567", "RU", "+436641234567"),
        ("0412 345 678", "AU", "+61412345678"),
        ("0011 43 664 1234567", "AU", "+436641234567"),
        ("0 123", "AT", None),
        ("12345", "DK", "+4512345"),
        ("123", "DK", None),
        ("+0664 1234567", "AT", None),
        ("+123456", "", None),
        ("+1234567890123456", "", None),
        ("+43 664 1234567 ext. 5", "", None),
        ("1-800-FLOWERS", "US", None),
        ("++436641234567", "", None),
        ("43+6641234567", "", None),
        ("+", "AT", None),
        ("-", "AT", None),
        ("\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667", "EG", None),
        (" " * 50 + "+436641234567", "", None),
    ],
)
def test_a_number_is_international(text: str, region: str, number: str | None) -> None:
    assert international_form(text, region) == number


def test_regions_have_codes_of_digits() -> None:
    for region, dialing in REGIONS.items():
        assert (len(region), region.isupper(), dialing.country_code.isdigit()) == (2, True, True)
        assert dialing.international.isdigit()
