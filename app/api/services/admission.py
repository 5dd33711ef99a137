"""Limits of one API process: bytes of request bodies in memory, concurrent uploads, checks with a provider."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from app.api.http.problems import ApiProblem

MAX_ADMITTED_BYTES: Final = 64 * 1024 * 1024
OVERHEAD_BYTES: Final = 8 * 1024  # of a request besides its body
MAX_PROBES: Final = 4  # checks of configurations; each may hold a thread that hangs
RETRY_SOON: Final = {"Retry-After": "1"}  # seconds: bodies are processed quickly
RETRY_LATER: Final = {"Retry-After": "10"}  # seconds: uploads take long


class Admission:
    """Admits requests up to the limits, and rejects the others with a `Retry-After`."""

    def __init__(self, max_uploads: int, max_bytes: int = MAX_ADMITTED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._max_uploads = max_uploads
        self._bytes = 0
        self._taken = Counter[str]()  # slots, by kind

    @contextmanager
    def body(self, size: int) -> Iterator[None]:
        """Reserve memory for a request body of `size` bytes while the context is open.

        Raises:
            ApiProblem: 503, the limit would be exceeded.

        """
        size += OVERHEAD_BYTES
        if self._bytes + size > self._max_bytes:
            raise ApiProblem(503, "busy", "too many concurrent requests: retry later", headers=RETRY_SOON)
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size

    def upload(self) -> AbstractContextManager[None]:
        """Reserve a slot for a streamed upload while the context is open.

        Raises:
            ApiProblem: 429, the limit is reached.

        """
        return self._slot("uploads", self._max_uploads)

    def probe(self) -> AbstractContextManager[None]:
        """Reserve a slot for a check with a provider while the context is open.

        Raises:
            ApiProblem: 429, the limit is reached.

        """
        return self._slot("checks", MAX_PROBES)

    @contextmanager
    def _slot(self, kind: str, limit: int) -> Iterator[None]:
        if self._taken[kind] >= limit:
            detail = f"the limit of {limit} concurrent {kind} of this process is reached: retry later"
            raise ApiProblem(429, f"too_many_{kind}", detail, headers=RETRY_LATER)
        self._taken[kind] += 1
        try:
            yield
        finally:
            self._taken[kind] -= 1
