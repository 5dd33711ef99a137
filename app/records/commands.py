"""Decode and check records of `jobs.commands` and `definitions.commands`, the same way for every reader."""

from typing import Any, Final, get_args

from app.kafka.safe_faust.latch import WorkerStop
from app.records.partitioning import partition_of
from projections.jobs.command_checks import MAX_WORD_CHARACTERS
from schemas.coded import CodedError
from schemas.commands import RULES as JOB_RULES
from schemas.commands import JobCommand, ReportProgress
from schemas.definitions import MAPPING, PARTITION, DefinitionCommand
from schemas.definitions import RULES as DEFINITION_RULES
from schemas.names import MAX_JOB_ID, MAX_NAME_CHARACTERS, is_job_id, is_stream_name
from schemas.wire.catalog import UnreadableRecordError
from schemas.wire.codec import decode

MAX_COMMAND_BYTES: Final = 2 * 1024 * 1024  # its events, and the job's state, have to fit into a record, too
EXIT_NEWER_RULES: Final = 71
MAX_DEFINITION_ID: Final = len(MAPPING) + MAX_JOB_ID


class UnreadableCommandError(CodedError):
    """The record holds no command, and becomes a dead letter."""


class NewerRulesError(WorkerStop):
    """The command was issued under rules of a newer version of Entrepot, which alone may decide it."""

    exit_code = EXIT_NEWER_RULES


def decode_job_command(key: bytes | None, value: bytes, partition: int, partitions: int) -> JobCommand:
    """Return the command in a record of that partition of `jobs.commands`.

    Raises:
        UnreadableCommandError: the record holds no such command, or is in the wrong partition.
        NewerRulesError: a newer version has to decide it.

    """
    command: JobCommand = _decode(value, get_args(JobCommand), "not_a_command")
    _check_names(command)
    if key != command.job_id.encode() or partition_of(command.job_id, partitions) != partition:
        raise UnreadableCommandError("misplaced_command", {"subject": command.job_id})
    _check_rules(command.rules, JOB_RULES)
    return command


def decode_definition_command(key: bytes | None, value: bytes, partition: int) -> DefinitionCommand:
    """Return the command in a record of that partition of `definitions.commands`.

    Raises:
        UnreadableCommandError: the record holds no such command, or is in the wrong partition.
        NewerRulesError: a newer version has to decide it.

    """
    command: DefinitionCommand = _decode(value, get_args(DefinitionCommand), "not_a_definition_command")
    name = command.definition_id
    if not name.isprintable() or not 0 < len(name) <= MAX_DEFINITION_ID:
        raise UnreadableCommandError("bad_definition_id", {"max": MAX_DEFINITION_ID})
    _check_words(command)
    if key != name.encode() or partition != PARTITION:
        raise UnreadableCommandError("misplaced_command", {"subject": name})
    _check_rules(command.rules, DEFINITION_RULES)
    return command


def _decode(value: bytes, kinds: tuple[type[Any], ...], code: str) -> Any:
    if len(value) > MAX_COMMAND_BYTES:
        raise UnreadableCommandError("command_too_large", {"bytes": len(value), "max": MAX_COMMAND_BYTES})
    try:
        command = decode(value)
    except UnreadableRecordError as error:
        raise UnreadableCommandError(error.code, error.params, detail=error.detail) from error
    if not isinstance(command, kinds):
        raise UnreadableCommandError(code, {"schema": type(command).__name__})
    return command


def _check_rules(rules: int, supported: int) -> None:
    """Leave commands under newer rules to a newer version. Versions that never existed are left to the decider."""
    if rules > supported:
        raise NewerRulesError(
            f"met a command under rules version {rules}, but this version of Entrepot supports {supported}; upgrade it"
        )


def _check_names(command: JobCommand) -> None:
    """Refuse names that the views could not store or tell apart: writing them would fail."""
    if not is_job_id(command.job_id):
        raise UnreadableCommandError("bad_job_id", {"max": MAX_JOB_ID})
    _check_words(command)
    if isinstance(command, ReportProgress) and command.stream and not is_stream_name(command.stream):
        raise UnreadableCommandError("bad_stream", {"max": MAX_NAME_CHARACTERS})


def _check_words(command: JobCommand | DefinitionCommand) -> None:
    """Refuse a long id or actor: states remember them."""
    if max(len(command.command_id), len(command.issued_by)) > MAX_WORD_CHARACTERS:
        raise UnreadableCommandError("bad_word", {"max": MAX_WORD_CHARACTERS})
