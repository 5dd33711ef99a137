"""What a command must be like to be looked at: known rules, sane time, sizes within bounds, allowed in the phase."""

from datetime import datetime
from typing import Final

from projections.cadence import InvalidCadenceError
from projections.cadence import check as check_cadence
from projections.job_state import Absent, JobState
from projections.json_object import InvalidJsonError, json_object
from projections.story import RefusedError, is_sane
from projections.transitions import TRANSITIONS, allowed_for_people
from schemas.commands import RULES, Counts, CreateJob, EditCursor, JobCommand, RenameJob, ReportProgress
from schemas.policies import Cadence, RetryPolicy

MAX_NAME: Final = 200
MAX_DESCRIPTION: Final = 5_000
MAX_COUNT: Final = 10**12
MAX_BYTES: Final = 10**18
LONGEST_SECONDS: Final = 30 * 86_400


def check_command(state: JobState, command: JobCommand) -> None:
    """Make sure that a command may be acted on.

    Raises:
        RefusedError: it may not.

    """
    if command.rules != RULES:
        raise RefusedError("unknown_rules", f"rules version {command.rules} is unknown; this service knows {RULES}")
    if not is_sane(command.issued_at):
        raise RefusedError("bad_time", f"the command says that it was issued in the year {command.issued_at.year}")
    _check_phase(state, command)
    _check_revision(state, command)
    _check_contents(command)


def _check_phase(state: JobState, command: JobCommand) -> None:
    name = type(command).__name__
    phase = "Absent" if isinstance(state, Absent) else state.status
    if name in TRANSITIONS[phase]:
        return
    if phase == "Absent":
        raise RefusedError("no_such_job", f"there is no job {command.job_id}")
    if isinstance(command, CreateJob):
        raise RefusedError("job_exists", f"there is a job {command.job_id} already")
    options = ", ".join(allowed_for_people(phase)) or "nothing"
    raise RefusedError("not_allowed", f"{name} can't be done while the job is {phase}; possible now: {options}")


def _check_revision(state: JobState, command: JobCommand) -> None:
    if isinstance(state, Absent) or command.expected_revision in {None, state.revision}:
        return
    raise RefusedError(
        "revision_mismatch", f"the job is at revision {state.revision}, not {command.expected_revision}: look again"
    )


def _check_contents(command: JobCommand) -> None:
    match command:
        case CreateJob() | RenameJob():
            if not command.name.strip() or len(command.name) > MAX_NAME:
                raise RefusedError("bad_name", f"a name needs 1 to {MAX_NAME} characters")
            if len(command.description) > MAX_DESCRIPTION:
                raise RefusedError("bad_description", f"a description has at most {MAX_DESCRIPTION} characters")
        case EditCursor():
            _check_json("cursor", command.cursor)
        case ReportProgress():
            _check_json("cursor", command.cursor)
            _check_counts(command.counts)
            _check_bytes(command.bytes_read, command.bytes_total or 0)
        case _:
            pass


def _check_counts(counts: Counts) -> None:
    values = (
        counts.read, counts.accepted, counts.rejected, counts.duplicate, counts.omitted, counts.added, counts.removed,
    )  # fmt: skip
    if not all(0 <= each <= MAX_COUNT for each in values):
        raise RefusedError("bad_counts", f"a count lies between 0 and {MAX_COUNT}")


def _check_bytes(*values: int) -> None:
    if not all(0 <= each <= MAX_BYTES for each in values):
        raise RefusedError("bad_counts", f"a number of bytes lies between 0 and {MAX_BYTES}")


def check_settings(configuration: str, cadence: Cadence, retry: RetryPolicy, at: datetime) -> None:
    """Make sure that a job can live by its settings. Whether the connector takes them is not looked at here.

    Raises:
        RefusedError: it can't.

    """
    _check_json("configuration", configuration)
    try:
        check_cadence(cadence, at)
    except InvalidCadenceError as error:
        raise RefusedError("bad_cadence", f"/cadence{error.pointer}: {error}") from error
    seconds = (retry.base_seconds, retry.cap_seconds, retry.floor_seconds, retry.give_up_seconds)
    if not all(1 <= each <= LONGEST_SECONDS for each in seconds):
        raise RefusedError("bad_retry", f"every value of /retry lies between 1 and {LONGEST_SECONDS} seconds")


def _check_json(what: str, text: str) -> None:
    try:
        json_object(what, text)
    except InvalidJsonError as error:
        raise RefusedError(f"bad_{what}", str(error)) from error
