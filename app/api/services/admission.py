"""How much may be in this process at a time: bytes of bodies and running uploads. Beyond that, come back later."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from app.api.http.problems import ApiProblem

MAX_ADMITTED_BYTES: Final = 64 * 1024 * 1024
OVERHEAD_BYTES: Final = 8 * 1024  # of a request, whatever its body
SOON: Final = {"Retry-After": "1"}
LATER: Final = {"Retry-After": "10"}


class Admission:
    """Lets requests in as long as there is room."""

    def __init__(self, most_uploads: int, most_bytes: int = MAX_ADMITTED_BYTES) -> None:
        self._most_bytes = most_bytes
        self._most_uploads = most_uploads
        self._bytes = 0
        self._uploads = 0

    @contextmanager
    def body(self, size: int) -> Iterator[None]:
        """Make room for a body that will be held whole.

        Raises:
            Problem: 503, there is none now.

        """
        size += OVERHEAD_BYTES
        if self._bytes + size > self._most_bytes:
            raise ApiProblem(503, "busy", "too many bodies are being taken at this moment: send it again", headers=SOON)
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size

    @contextmanager
    def upload(self) -> Iterator[None]:
        """Make room for an upload that is streamed.

        Raises:
            Problem: 429, as many as can be are running.

        """
        if self._uploads >= self._most_uploads:
            detail = f"{self._uploads} uploads are running here, as many as can be at a time: send it again later"
            raise ApiProblem(429, "too_many_uploads", detail, headers=LATER)
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1
