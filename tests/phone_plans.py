"""What the pinned version of `phonenumbers` knows of each region, short enough to compare versions in a diff."""

from hashlib import sha256
from pathlib import Path

from phonenumbers import PhoneMetadata

from projections.identities.phone_numbers import REGIONS

PLANS = Path(__file__).parent / "golden" / "phone_plans.txt"


def phone_plans() -> str:
    """Return one line for each region: code, country code, prefixes, lengths, and a hash of the whole plan."""
    return "".join(f"{region} {_plan(region)}\n" for region in REGIONS)


def _plan(region: str) -> str:
    plan = PhoneMetadata.metadata_for_region(region)
    assert plan is not None
    assert plan.general_desc is not None
    lengths = ",".join(map(str, plan.general_desc.possible_length))
    prefix = plan.national_prefix_for_parsing or "-"
    digest = sha256(repr(plan).encode()).hexdigest()[:8]
    return f"{plan.country_code} {plan.international_prefix} {prefix} {lengths} {digest}"
