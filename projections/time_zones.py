"""IANA time zones from the `tzdata` package: the same wherever this runs."""

from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo


@cache
def zone(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name, from the `tzdata` package: the same wherever this runs.

    Raises:
        KeyError: there is no zone of that name.

    """
    if name not in _zones():
        raise KeyError(name)
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as data:
        return ZoneInfo.from_file(data, key=name)


@cache
def _zones() -> frozenset[str]:
    return frozenset(resources.files("tzdata").joinpath("zones").read_text("utf-8").split())
