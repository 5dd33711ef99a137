"""Phone numbers as E.164 digits: `+`, the country code and the number.

A number without `+` needs a default region, whose prefixes are then removed. Nothing is guessed: a text that is not
one complete number is none.
"""

import re
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

MAX_CACHED_NUMBERS: Final = 4_096
MIN_NATIONAL_DIGITS: Final = 4  # without the country code and the prefix; shorter numbers are local or services
MAX_PHONE_CHARACTERS: Final = 40
ZERO: Final = "0"


class Dialing(NamedTuple):
    """How numbers are dialled in a region: its country code, and the prefixes of international and national calls.

    Where all national numbers have as many `digits`, the `trunk` prefix may be missing. An empty one does not exist.
    """

    country_code: str
    international: str
    trunk: str
    digits: int = 0


def _regions(international: str, trunk: str, codes: str) -> dict[str, Dialing]:
    entries = (entry.split(":") for entry in codes.split())
    return {region: Dialing(code, international, trunk, *map(int, digits)) for region, code, *digits in entries}


# ITU-T E.164 (list of country codes) and "Dialling procedures" (international and national prefixes).
REGIONS: Final = MappingProxyType(
    _regions(
        "00",
        ZERO,
        "AE:971 AL:355 AM:374 AR:54 AT:43 BA:387 BD:880 BE:32 BG:359 BO:591 CD:243 CH:41 CN:86:11 DE:49 DZ:213 EC:593 "
        "EG:20 ET:251 FI:358 FR:33:9 GB:44 GE:995 GH:233 HR:385 IE:353 IL:972 IN:91:10 IQ:964 IR:98 JO:962 KE:254 "
        "KG:996 KH:855 LB:961 LK:94 LU:352 LY:218 MA:212 MD:373 ME:382 MK:389 MM:95 MY:60 NG:234:10 NL:31 NP:977 "
        "NZ:64 PE:51 PH:63:10 PK:92:10 RO:40 RS:381 RW:250 SA:966 SE:46 SI:386 SK:421 SY:963 TR:90:10 UA:380 UG:256 "
        "VE:58 VN:84 XK:383 YE:967 ZA:27 ZM:260 ZW:263",
    )
    | _regions(
        "00",
        "",
        "AD:376 BH:973 CM:237 CR:506 CY:357 CZ:420 DK:45 ES:34 GR:30 GT:502 HN:504 IS:354 IT:39 KW:965 LI:423 LV:371 "
        "MC:377 MT:356 NO:47 OM:968 PA:507 PL:48 PT:351 PY:595 QA:974 SM:378 SN:221 SV:503 TN:216 UY:598 VA:39 EE:372",
    )
    | _regions("011", "1", "US:1:10 CA:1:10 PR:1:10 DO:1:10 JM:1:10")
    | _regions("810", "8", "RU:7:10 KZ:7:10")
    | {
        "AU": Dialing("61", "0011", ZERO, 9),
        "HK": Dialing("852", "001", ""),
        "HU": Dialing("36", "00", "06"),
        "ID": Dialing("62", "001", ZERO),
        "JP": Dialing("81", "010", ZERO),
        "KR": Dialing("82", "001", ZERO),
        "LT": Dialing("370", "00", ZERO),
        "MX": Dialing("52", "00", ""),
        "SG": Dialing("65", "001", ""),
        "TH": Dialing("66", "001", ZERO),
        "TW": Dialing("886", "002", ZERO),
    }
)
# Country codes of which every national number is dialled with a 0 that is not part of the international number.
_ZERO_TRUNKS: Final = frozenset(dialing.country_code for dialing in REGIONS.values() if dialing.trunk == ZERO)

_PHONE: Final = re.compile(r"\+?[0-9 ()./\u00a0\u2010-\u2013\u2212-]+")
_SEPARATORS: Final = re.compile(r"[^0-9]+")
_OPTIONAL_TRUNK: Final = re.compile(r"\+([0-9]{1,3})[ \u00a0]*\(0\)")
_E164: Final = re.compile(r"[1-9][0-9]{6,14}")


@lru_cache(MAX_CACHED_NUMBERS)
def international_form(text: str, region: str) -> str | None:
    """Return a number as E.164 digits with `+`; None if it is none, or lacks a country code that the region gives."""
    if len(text) > MAX_PHONE_CHARACTERS or not _PHONE.fullmatch(text):
        return None
    optional = _OPTIONAL_TRUNK.match(text)
    if optional and optional[1] in _ZERO_TRUNKS:  # `+43 (0)1 …`
        text = f"+{optional[1]} {text[optional.end() :]}"
    digits = _SEPARATORS.sub("", text)
    if not text.startswith("+"):
        national = _from_region(digits, REGIONS.get(region))
        if national is None:
            return None
        digits = national
    return f"+{digits}" if _E164.fullmatch(digits) else None


def _from_region(digits: str, dialing: Dialing | None) -> str | None:
    """Return the digits with the country code, as they are meant in the region."""
    if dialing is None:
        return None
    if digits.startswith(dialing.international):
        return digits.removeprefix(dialing.international)
    if dialing.digits:
        national = digits if len(digits) == dialing.digits else digits.removeprefix(dialing.trunk)
        is_complete = len(national) == dialing.digits and national[0] not in {ZERO, dialing.trunk}
        return dialing.country_code + national if is_complete else None
    if not digits.startswith(dialing.trunk):
        return None  # dialled without an area code, or a country code without `+`
    national = digits.removeprefix(dialing.trunk)
    return dialing.country_code + national if len(national) >= MIN_NATIONAL_DIGITS else None
