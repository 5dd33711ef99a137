"""A job's state to bytes and back, for Faust's tables and the read store. The states' own types are the schema."""

import logging
from typing import Final

import orjson
from pydantic import TypeAdapter, ValidationError

from projections.jobs.state import Job

_log = logging.getLogger(__name__)

_JOBS: Final[TypeAdapter[Job]] = TypeAdapter(Job)


def encode_job(job: Job) -> bytes:
    """Return a job as JSON."""
    return _JOBS.dump_json(job)


def decode_job(data: bytes | str) -> Job:
    """Return the job in the JSON that `encode_job` made, by this or an older version (new fields have defaults)."""
    return _JOBS.validate_json(data)


def try_decode_job(data: bytes) -> Job | None:
    """Return the job in that JSON; None, and a line in the log, when it is none: the others must not wait for it."""
    try:
        return decode_job(data)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        _log.error(
            "the state of a job can't be read and is left out: %s: %s; %r", first["loc"], first["msg"], data[:80]
        )
        return None


def decode_seq(data: bytes) -> int:
    """Return the `seq` of the job in that JSON, at a tenth of the cost of the whole job."""
    seq: int = orjson.loads(data)["seq"]
    return seq
