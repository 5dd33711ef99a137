"""Checks of every command: known rules, a plausible time, allowed in the phase, contents within bounds."""

from datetime import datetime
from typing import Final

from projections.decider import check_envelope
from projections.jobs.cadence import InvalidCadenceError, check_cadence
from projections.jobs.recorder import JobRefusedError
from projections.jobs.state import Job, phase_of
from projections.jobs.transitions import TRANSITIONS, allowed_user_commands
from projections.json_object import InvalidJsonError, json_object
from schemas.commands import (
    COUNT_NAMES,
    MAX_TOTAL,
    RULES,
    ConfigureJob,
    Counts,
    CreateJob,
    EditCursor,
    JobCommand,
    RenameJob,
    ReportError,
    ReportProgress,
)
from schemas.names import is_safe_line, is_safe_text
from schemas.policies import Cadence, RetryPolicy

MAX_NAME_CHARACTERS: Final = 200
MAX_DESCRIPTION_CHARACTERS: Final = 5_000
MAX_COUNT: Final = 10**12
MAX_BYTES: Final = MAX_TOTAL
MAX_NUMBER: Final = 10**15  # of a run, a report, a version: leaves room in a long
MAX_WORD_CHARACTERS: Final = 200  # of an id, a code or the name of a provider
MAX_SECONDS: Final = 30 * 86_400


def check_command(job: Job | None, command: JobCommand) -> None:
    """Check that a command is valid and allowed.

    Raises:
        RefusedError: the command is refused.

    """
    check_envelope(command, RULES)
    _check_phase(job, command)
    _check_revision(job, command)
    _check_contents(command)


def _check_phase(job: Job | None, command: JobCommand) -> None:
    name = type(command).__name__
    phase = phase_of(job)
    if name in TRANSITIONS[phase]:
        return
    if job is None:
        raise JobRefusedError("no_such_job", {"job_id": command.job_id})
    if isinstance(command, CreateJob):
        raise JobRefusedError("job_exists", {"job_id": command.job_id})
    raise JobRefusedError("not_allowed", {"command": name, "status": phase, "allowed": allowed_user_commands(phase)})


def _check_revision(job: Job | None, command: JobCommand) -> None:
    if job is None or command.expected_revision in {None, job.revision}:
        return
    raise JobRefusedError("revision_mismatch", {"revision": job.revision, "expected": command.expected_revision})


def _check_contents(command: JobCommand) -> None:
    match command:
        case CreateJob():
            check_name(command.name, command.description)
            check_words(command.provider, command.job_type, command.kind)
        case RenameJob():
            check_name(command.name, command.description)
        case ConfigureJob():
            check_numbers(command.reverted_from or 0)
        case EditCursor():
            check_cursor(command.cursor)
        case ReportProgress():
            check_cursor(command.cursor)
            check_counts(command.counts, MAX_COUNT)
            check_bytes(command.bytes_read, command.bytes_total or 0)
            check_numbers(command.run)
            check_words(command.lane)
        case ReportError():
            check_words(command.code)
        case _:
            pass


def check_name(name: str, description: str) -> None:
    """Check a name and a description.

    Raises:
        JobRefusedError: one is invalid.

    """
    if not name.strip() or len(name) > MAX_NAME_CHARACTERS or not is_safe_line(name):
        raise JobRefusedError("bad_name", {"pointer": "/name", "max": MAX_NAME_CHARACTERS})
    if len(description) > MAX_DESCRIPTION_CHARACTERS or not is_safe_text(description):
        raise JobRefusedError("bad_description", {"pointer": "/description", "max": MAX_DESCRIPTION_CHARACTERS})


def check_words(*words: str) -> None:
    """Check the length of ids, codes and names of providers.

    Raises:
        JobRefusedError: one is too long.

    """
    if any(len(word) > MAX_WORD_CHARACTERS for word in words):
        raise JobRefusedError("bad_word", {"max": MAX_WORD_CHARACTERS})


def check_numbers(*numbers: int) -> None:
    """Check numbers that are incremented.

    Raises:
        JobRefusedError: one is out of range.

    """
    if not all(0 <= number <= MAX_NUMBER for number in numbers):
        raise JobRefusedError("bad_number", {"max": MAX_NUMBER})


def check_counts(counts: Counts, maximum: int) -> None:
    """Check counts; `maximum` bounds each.

    Raises:
        JobRefusedError: one is out of range.

    """
    if not all(0 <= getattr(counts, name) <= maximum for name in COUNT_NAMES):
        raise JobRefusedError("bad_counts", {"max": maximum})


def check_bytes(*values: int) -> None:
    """Check numbers of bytes.

    Raises:
        JobRefusedError: one is out of range.

    """
    if not all(0 <= value <= MAX_BYTES for value in values):
        raise JobRefusedError("bad_bytes", {"max": MAX_BYTES})


def check_settings(configuration: str, cadence: Cadence, retry: RetryPolicy, at: datetime) -> None:
    """Check the settings of a job. The connector's own checks are made elsewhere.

    Raises:
        JobRefusedError: one is invalid.

    """
    _check_json("/configuration", configuration)
    try:
        check_cadence(cadence, at)
    except InvalidCadenceError as error:
        raise JobRefusedError(error.code, {**error.params, "pointer": f"/cadence{error.pointer}"}) from error
    seconds = (retry.base_seconds, retry.cap_seconds, retry.floor_seconds, retry.give_up_seconds)
    if not all(1 <= value <= MAX_SECONDS for value in seconds):
        raise JobRefusedError("bad_retry", {"pointer": "/retry", "max": MAX_SECONDS})


def check_cursor(cursor: str) -> None:
    """Check that a cursor is a JSON object within bounds.

    Raises:
        JobRefusedError: it is not.

    """
    _check_json("/cursor", cursor)


def _check_json(pointer: str, text: str) -> None:
    try:
        json_object(text)
    except InvalidJsonError as error:
        raise JobRefusedError(error.code, {**error.params, "pointer": pointer}) from error
