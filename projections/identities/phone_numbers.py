"""Phone numbers as E.164 digits: `+`, the country code and the number, by the numbering plans of `phonenumbers`.

Nothing is guessed: a text that is not one complete number is refused, with the code of its fault. The library is
lenient, so the text is checked before it is parsed.
"""

import re
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from phonenumbers import (
    SUPPORTED_REGIONS,
    CountryCodeSource,
    NumberParseException,
    PhoneMetadata,
    PhoneNumber,
    PhoneNumberFormat,
    ValidationResult,
    format_number,
    is_possible_number_with_reason,
    is_valid_number,
    national_significant_number,
    normalize_digits_only,
    parse,
)

REGIONS: Final = tuple(sorted(SUPPORTED_REGIONS))  # ISO 3166-1 codes
BAD: Final = "bad_phone"  # not a number
EXTENSION: Final = "phone_with_extension"
NO_REGION: Final = "phone_without_region"  # a national number, and the rules name no region
NO_PREFIX: Final = "phone_without_prefix"  # neither `+` nor the prefix of national calls, such as 0
SHORT: Final = "short_phone"  # local, or of a service
IMPOSSIBLE: Final = "impossible_phone"
MAX_CACHED_NUMBERS: Final = 4_096
MAX_PHONE_CHARACTERS: Final = 40
MAX_E164_CHARACTERS: Final = 16  # `+` and 15 digits
NO_LENGTH: Final = -1  # in metadata: there are no such numbers

_SEPARATORS: Final = r" ()./\u00a0\u2010-\u2015\u2212\u3000\u30fc\uff08\uff09\uff0d-\uff0f-"
_PHONE: Final = re.compile(rf"(?:[Tt]el:)?[( ]*(?P<plus>[+\uff0b])?[\d{_SEPARATORS}]*\d[\d{_SEPARATORS}]*")
_TOO_SHORT: Final = frozenset({ValidationResult.TOO_SHORT, ValidationResult.IS_POSSIBLE_LOCAL_ONLY})
_TOO_SHORT_TO_PARSE: Final = frozenset({NumberParseException.TOO_SHORT_AFTER_IDD, NumberParseException.TOO_SHORT_NSN})
_WITH_COUNTRY_CODE: Final = frozenset(
    {CountryCodeSource.FROM_NUMBER_WITH_PLUS_SIGN, CountryCodeSource.FROM_NUMBER_WITH_IDD}
)


class PhoneForm(NamedTuple):
    """A number as E.164 digits with `+`; or none, and the code of the fault."""

    number: str | None
    fault: str = ""


class Plan(NamedTuple):
    """What the numbering plan of a region says about numbers without a country code."""

    prefix: str | None  # of national calls
    has_one_length: bool  # all subscribers' numbers, so that no local number looks complete


@lru_cache(MAX_CACHED_NUMBERS)
def phone_form(text: str, region: str) -> PhoneForm:
    """Return the number that a text states, as it is dialled in the region; without a region, only with `+`."""
    match = _PHONE.fullmatch(text) if len(text) <= MAX_PHONE_CHARACTERS else None
    if match is None:
        return PhoneForm(None, EXTENSION if _has_extension(text, region) else BAD)
    if not region and not match["plus"]:
        return PhoneForm(None, NO_REGION)
    try:
        number = parse(text, region or None, keep_raw_input=True)
    except NumberParseException as error:
        return PhoneForm(None, SHORT if error.error_type in _TOO_SHORT_TO_PARSE else IMPOSSIBLE)
    international = format_number(number, PhoneNumberFormat.E164)
    fault = _fault(number, international, normalize_digits_only(text), region)
    return PhoneForm(None if fault else international, fault)


def _has_extension(text: str, region: str) -> bool:
    try:
        return bool(parse(text, region or None).extension)
    except NumberParseException:
        return False


def _fault(number: PhoneNumber, international: str, digits: str, region: str) -> str:
    """Return the code of a fault, or "".

    The length has to be possible. Where a prefix was removed, or a zero may be one, only the numbering plan says what
    is meant, so the number has to be valid, too.
    """
    length = is_possible_number_with_reason(number)
    if length != ValidationResult.IS_POSSIBLE or len(international) > MAX_E164_CHARACTERS:
        return SHORT if length in _TOO_SHORT else IMPOSSIBLE
    is_national = number.country_code_source not in _WITH_COUNTRY_CODE
    if is_national and _lacks_prefix(number, digits, region):
        return NO_PREFIX
    is_literal = not is_national and not number.italian_leading_zero and digits.endswith(international[1:])
    return "" if is_literal or is_valid_number(number) else IMPOSSIBLE


def _lacks_prefix(number: PhoneNumber, digits: str, region: str) -> bool:
    """Whether a number has neither `+` nor the prefix of national calls, so that it may be a local one."""
    plan = _plan_of(region)
    if number.country_code_source == CountryCodeSource.FROM_NUMBER_WITHOUT_PLUS_SIGN:
        return plan.prefix != str(number.country_code)  # in North America both are 1
    if plan.has_one_length or digits != national_significant_number(number):
        return False
    return digits != normalize_digits_only(format_number(number, PhoneNumberFormat.NATIONAL))


@cache
def _plan_of(region: str) -> Plan:
    metadata: Any = PhoneMetadata.metadata_for_region(region)
    kinds = [kind for kind in (metadata.fixed_line, metadata.mobile) if kind is not None]
    lengths = {length for kind in kinds for length in kind.possible_length or metadata.general_desc.possible_length}
    return Plan(metadata.national_prefix, len(lengths - {NO_LENGTH}) == 1)
