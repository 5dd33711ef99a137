"""Limits of this process: the bytes of request bodies in memory, and concurrent uploads."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from app.api.http.problems import ApiProblem

MAX_ADMITTED_BYTES: Final = 64 * 1024 * 1024
OVERHEAD_BYTES: Final = 8 * 1024  # of a request besides its body
SOON: Final = {"Retry-After": "1"}
LATER: Final = {"Retry-After": "10"}


class Admission:
    """Admits requests up to the limits, and refuses the others for now."""

    def __init__(self, max_uploads: int, max_bytes: int = MAX_ADMITTED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._max_uploads = max_uploads
        self._bytes = 0
        self._uploads = 0

    @contextmanager
    def body(self, size: int) -> Iterator[None]:
        """Reserve memory for a request body.

        Raises:
            ApiProblem: 503, the limit is reached.

        """
        size += OVERHEAD_BYTES
        if self._bytes + size > self._max_bytes:
            raise ApiProblem(503, "busy", "too many concurrent requests: retry later", headers=SOON)
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size

    @contextmanager
    def upload(self) -> Iterator[None]:
        """Reserve a slot for a streamed upload.

        Raises:
            ApiProblem: 429, the limit is reached.

        """
        if self._uploads >= self._max_uploads:
            detail = f"{self._uploads} uploads are running, the limit of this server: retry later"
            raise ApiProblem(429, "too_many_uploads", detail, headers=LATER)
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1
