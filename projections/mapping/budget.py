"""What the expressions of a mapping may do for one message, and what they could not represent.

Work is counted in characters, never measured in time, so that previews, lanes and rebuilds agree on every machine. An
expression evaluates each of its nodes at most once, and the size of a mapping limits their number: only texts longer
than `SHORT_CHARACTERS` need counting. Fields and functions spend the length of each such text that they return. The
functions that search in a text also spend what the pattern may cost.
"""

from typing import Final

MAX_WORK: Final = 2_000_000  # characters per message: at most about 50 ms, for splits at each second character
SHORT_CHARACTERS: Final = 128  # a text of this length is free
MAX_PATTERN: Final = 256  # characters; searches for longer patterns take no longer
FREE_PATTERN: Final = 64  # characters of a pattern for which a search costs as much as reading the text


class TooCostlyError(Exception):
    """The expressions of a mapping exceed the budget of a message. `text` is the value that they read or computed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class Budget:
    """The work that is left for the current message, and the number that its expression can't represent exactly."""

    __slots__ = ("inexact", "left")

    def __init__(self) -> None:
        self.left = MAX_WORK
        self.inexact: int | float | None = None

    def note_inexact(self, number: float) -> None:
        """Note a number, and return None: the value is absent."""
        self.inexact = number

    def spend(self, text: str, work: int) -> None:
        """Spend work on a text. A budget that was exceeded once stays exceeded.

        Raises:
            TooCostlyError: the budget is exceeded.

        """
        self.left -= work
        if self.left < 0:
            raise TooCostlyError(text)


def search_work(text: str, pattern: str) -> int:
    """Return the work of a search for a pattern, besides that of reading the text."""
    return len(text) * min(len(pattern), MAX_PATTERN) // FREE_PATTERN
