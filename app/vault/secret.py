"""A secret value that no log, error, trace, dump or comparison can show by accident."""

import hmac
from typing import Generic, NoReturn, TypeVar, final

from connectors.redaction import MASK

T = TypeVar("T", str, bytes)


@final
class Secret(Generic[T]):
    """Holds a text or bytes. Only `reveal` returns them: texts of it are masked, and it can't be copied or encoded."""

    __slots__ = ("__value",)

    def __init__(self, value: T) -> None:
        self.__value: T = value

    def reveal(self) -> T:
        """Return the value. Pass it on at once, and keep it nowhere."""
        return self.__value

    def __repr__(self) -> str:
        return MASK

    def __format__(self, format_spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self.__value), _bytes(other.reveal()))

    __hash__ = None  # type: ignore[assignment]  # a hash reveals which values are equal

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret can't be pickled or copied")


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
