"""The rules for the values of one identity kind: their normal form, and blocked values."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from projections.identities.blocked_values import DEFAULT_BLOCKED_VALUES, BlockedValues, folded
from projections.identities.normal_form import EMAIL, EXACT, TEXT, fault_of, normal_form_of, text_form

BLOCKED: Final = "blocked_identity"


class IdentityValue(NamedTuple):
    """A value in its normal form, and the code of its fault; a blocked value is folded."""

    text: str
    fault: str


class ValueRules:
    """Reads the values of one kind. Blocked values are tested before and after a value gets its normal form."""

    __slots__ = ("_normal_form", "blocked", "form", "region")

    def __init__(self, form: str = EXACT, region: str = "", blocked: Iterable[str] = ()) -> None:
        self.form = form
        self.region = region
        self._normal_form = normal_form_of(form, region)
        values = list(blocked)
        normal = (self._normal_form(value) for value in values)
        self.blocked = BlockedValues([*values, *(value for value in normal if value)])

    def read(self, text: str) -> IdentityValue:
        """Return a value; without text for a text that has nothing visible."""
        visible = text.strip() if self.form == EXACT else text_form(text)
        if visible in self.blocked:
            return IdentityValue(folded(visible), BLOCKED)
        if not visible:
            return IdentityValue("", "")
        value = self._normal_form(visible)
        spelling = value or visible
        if spelling in self.blocked or (self.form == EMAIL and self._is_placeholder(spelling)):
            return IdentityValue(folded(spelling), BLOCKED)
        return IdentityValue(spelling, "" if value else fault_of(self.form, self.region, visible))

    def normal_form(self, text: str) -> str | None:
        """Return the normal form of a value, blocked or not; None for an invalid value."""
        return self._normal_form(text.strip()) or None

    def _is_placeholder(self, address: str) -> bool:
        """Whether both parts of an address are blocked, as in `null@null.com`."""
        name, _, domain = address.partition("@")
        return name in self.blocked and domain.partition(".")[0] in self.blocked


def with_defaults(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the JSON body of identity rules with the defaults for what it does not set.

    They are written into each new version, so that versions written earlier keep their meaning: without these members
    values are exact, and none is blocked.
    """
    kinds = body.get("kinds")
    filled: dict[str, Any] = {"kinds": list(map(_with_format, kinds))} if isinstance(kinds, list) else {}
    if body.get("blocked_values") is None:
        filled["blocked_values"] = list(DEFAULT_BLOCKED_VALUES)
    return {**body, **filled}


def _with_format(kind: Any) -> Any:
    if not isinstance(kind, Mapping) or kind.get("format") is not None:
        return kind
    return {**kind, "format": default_format(str(kind.get("kind")))}


def default_format(kind: str) -> str:
    """Return the format of a kind by its name."""
    return EMAIL if kind == EMAIL or kind.endswith(f"_{EMAIL}") else TEXT
