"""Encode and decode a job's state, for Faust's tables and the read store. The types of the states are the schema."""

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
    """Return the job; log an error and return None when it is invalid, so that other jobs are not blocked."""
    try:
        return decode_job(data)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        _log.error("the state of a job is invalid and is skipped: %s: %s; %r", first["loc"], first["msg"], data[:80])
        return None


def decode_seq(data: bytes) -> int:
    """Return the `seq` of a job, at a tenth of the cost of decoding all of it."""
    seq: int = orjson.loads(data)["seq"]
    return seq
