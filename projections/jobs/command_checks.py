"""What a command must be like to be looked at: known rules, sane time, sizes within bounds, allowed in the phase."""

from datetime import datetime
from typing import Final

from projections.jobs.cadence import InvalidCadenceError
from projections.jobs.cadence import check as check_cadence
from projections.jobs.recorder import JobRefusedError, is_sane
from projections.jobs.state import JobState, NoJob
from projections.jobs.transitions import TRANSITIONS, allowed_for_people
from projections.json_object import InvalidJsonError, json_object
from schemas.commands import (
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
from schemas.policies import Cadence, RetryPolicy

MAX_NAME: Final = 200
MAX_DESCRIPTION: Final = 5_000
MAX_COUNT: Final = 10**12
MAX_BYTES: Final = MAX_TOTAL
MAX_NUMBER: Final = 10**15  # of a run, a report, a version: the next ones have to fit into a long too
MAX_WORD_CHARACTERS: Final = 200  # characters of an id, a code, a provider
MAX_SECONDS: Final = 30 * 86_400


def check_command(state: JobState, command: JobCommand) -> None:
    """Make sure that a command may be acted on.

    Raises:
        JobRefusedError: it may not.

    """
    if command.rules != RULES:
        raise JobRefusedError("unknown_rules", f"rules version {command.rules} is unknown; this service knows {RULES}")
    if not is_sane(command.issued_at):
        raise JobRefusedError("bad_time", f"the command says that it was issued in the year {command.issued_at.year}")
    _check_phase(state, command)
    _check_revision(state, command)
    _check_contents(command)


def _check_phase(state: JobState, command: JobCommand) -> None:
    name = type(command).__name__
    phase = "Absent" if isinstance(state, NoJob) else state.status
    if name in TRANSITIONS[phase]:
        return
    if phase == "Absent":
        raise JobRefusedError("no_such_job", f"there is no job {command.job_id}")
    if isinstance(command, CreateJob):
        raise JobRefusedError("job_exists", f"there is a job {command.job_id} already")
    options = ", ".join(allowed_for_people(phase)) or "nothing"
    raise JobRefusedError("not_allowed", f"{name} can't be done while the job is {phase}; possible now: {options}")


def _check_revision(state: JobState, command: JobCommand) -> None:
    if isinstance(state, NoJob) or command.expected_revision in {None, state.revision}:
        return
    raise JobRefusedError(
        "revision_mismatch", f"the job is at revision {state.revision}, not {command.expected_revision}: look again"
    )


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
    """Make sure that a job can be called that.

    Raises:
        JobRefusedError: it can't.

    """
    if not name.strip() or len(name) > MAX_NAME:
        raise JobRefusedError("bad_name", f"a name needs 1 to {MAX_NAME} characters")
    if len(description) > MAX_DESCRIPTION:
        raise JobRefusedError("bad_description", f"a description has at most {MAX_DESCRIPTION} characters")


def check_words(*words: str) -> None:
    """Make sure that ids, codes and names of providers are as short as those are.

    Raises:
        JobRefusedError: one isn't.

    """
    if any(len(each) > MAX_WORD_CHARACTERS for each in words):
        raise JobRefusedError(
            "bad_word", f"an id, a code or a name of a provider has at most {MAX_WORD_CHARACTERS} characters"
        )


def check_numbers(*numbers: int) -> None:
    """Make sure that what counts up has room to go on.

    Raises:
        JobRefusedError: it doesn't.

    """
    if not all(0 <= each <= MAX_NUMBER for each in numbers):
        raise JobRefusedError("bad_number", f"a run, a report or a version lies between 0 and {MAX_NUMBER}")


def check_counts(counts: Counts, most: int) -> None:
    """Make sure that counts are none that a sum would be spoilt by.

    Raises:
        JobRefusedError: they are.

    """
    values = (
        counts.read, counts.accepted, counts.rejected, counts.duplicate, counts.omitted, counts.added, counts.removed,
    )  # fmt: skip
    if not all(0 <= each <= most for each in values):
        raise JobRefusedError("bad_counts", f"a count lies between 0 and {most}")


def check_bytes(*values: int) -> None:
    """Make sure that numbers of bytes are sane.

    Raises:
        JobRefusedError: they aren't.

    """
    if not all(0 <= each <= MAX_BYTES for each in values):
        raise JobRefusedError("bad_counts", f"a number of bytes lies between 0 and {MAX_BYTES}")


def check_settings(configuration: str, cadence: Cadence, retry: RetryPolicy, at: datetime) -> None:
    """Make sure that a job can live by its settings. Whether the connector takes them is not looked at here.

    Raises:
        JobRefusedError: it can't.

    """
    _check_json("configuration", configuration)
    try:
        check_cadence(cadence, at)
    except InvalidCadenceError as error:
        raise JobRefusedError("bad_cadence", f"/cadence{error.pointer}: {error}") from error
    seconds = (retry.base_seconds, retry.cap_seconds, retry.floor_seconds, retry.give_up_seconds)
    if not all(1 <= each <= MAX_SECONDS for each in seconds):
        raise JobRefusedError("bad_retry", f"every value of /retry lies between 1 and {MAX_SECONDS} seconds")


def check_cursor(cursor: str) -> None:
    """Make sure that a cursor is a JSON object within bounds.

    Raises:
        JobRefusedError: it isn't.

    """
    _check_json("cursor", cursor)


def _check_json(what: str, text: str) -> None:
    try:
        json_object(what, text)
    except InvalidJsonError as error:
        raise JobRefusedError(f"bad_{what}", str(error)) from error
