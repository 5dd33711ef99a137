"""The commands of jobs: imperative and frozen. Time, IDs and randomness are part of the command.

The writer of a command sets `command_id` (a UUID), `issued_at` (UTC), `seed` (63 random bits, for jitter) and `rules`,
the version of the rules that decide it. So the events are a function of the commands alone.
"""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final, Literal

from schemas.coded import Params
from schemas.policies import DEFAULT_RETRY, ONCE, Cadence, RetryPolicy

RULES: Final = 1
NAMESPACE: Final = "entrepot.jobs.commands"
MAX_TOTAL: Final = 10**18  # sums of counts or bytes saturate here, so that they always fit into a long

Advice = Literal["retry", "wait", "fix_configuration", "renew_authorization", "restore_source"]
Fault = Literal["provider", "network", "configuration", "authorization", "entrepot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The outcome of records. Invariant: `read == accepted + rejected + duplicate + omitted`.

    `duplicate` records were stored before. `omitted` ones are skipped on purpose, such as unchanged ones by an export.
    `added` and `removed` count profiles at a destination; they are 0 for an import.
    """

    read: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicate: int = 0
    omitted: int = 0
    added: int = 0
    removed: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        """Return the sums, limited to `MAX_TOTAL`."""
        return Counts(
            read=min(self.read + other.read, MAX_TOTAL),
            accepted=min(self.accepted + other.accepted, MAX_TOTAL),
            rejected=min(self.rejected + other.rejected, MAX_TOTAL),
            duplicate=min(self.duplicate + other.duplicate, MAX_TOTAL),
            omitted=min(self.omitted + other.omitted, MAX_TOTAL),
            added=min(self.added + other.added, MAX_TOTAL),
            removed=min(self.removed + other.removed, MAX_TOTAL),
        )

    @property
    def imbalance(self) -> int:
        """The records read but not accounted for; 0 if the invariant holds."""
        return self.read - self.accepted - self.rejected - self.duplicate - self.omitted


NO_COUNTS: Final = Counts()
COUNT_NAMES: Final = tuple(count.name for count in fields(Counts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The envelope of every command."""

    command_id: str
    job_id: str
    issued_at: datetime
    issued_by: str  # `user:NAME`, `runner` or `scheduler`
    seed: int = 0
    rules: int = RULES
    expected_revision: int | None = None  # refuse the command if users have edited the job since this revision


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateJob(Command):
    """Create a job and start it, or leave it as a draft (`start=False`).

    A job with a schedule waits for its first scheduled time, unless `run_now`.
    """

    provider: str
    job_type: str
    kind: str  # import, export or enrichment
    name: str
    description: str = ""
    configuration: str = "{}"  # canonical JSON of the connector's configuration
    cadence: Cadence = ONCE
    retry: RetryPolicy = DEFAULT_RETRY
    start: bool = True
    run_now: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameJob(Command):
    """Change the name and the description."""

    name: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigureJob(Command):
    """Replace the configuration. `reverted_from` is the restored version, if any."""

    configuration: str
    cadence: Cadence
    retry: RetryPolicy
    reverted_from: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseJob(Command):
    """Stop at the next record boundary, until `until` or until resumed."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeJob(Command):
    """Continue after a pause or a failure: at the next scheduled time, or immediately with `run_now`."""

    run_now: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunJob(Command):
    """Run immediately instead of waiting, or again after completion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KillJob(Command):
    """Stop and archive. The job can be restored until it is purged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreJob(Command):
    """Restore a killed job; it is paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditCursor(Command):
    """Overwrite the cursor of a paused job."""

    cursor: str  # JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeJob(Command):
    """Wake a job at its scheduled time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeJob(Command):
    """Purge a job after 90 days without activity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportProgress(Command):
    """Report that records up to `cursor` are committed, in the same transaction as this report.

    `report` numbers the reports of a job from 1 without gaps, across runs, so that each report applies exactly once.
    """

    run: int
    report: int
    cursor: str  # JSON
    counts: Counts
    stream: str
    lane: str
    pass_done: bool
    bytes_read: int = 0
    bytes_total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportError(Command):
    """Report an error of a run. `advice` is the next step, `detail` the message of the provider, without secrets."""

    run: int
    fault: Fault
    advice: Advice
    code: str
    params: Params
    detail: str = ""
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRateLimit(Command):
    """Report a rate limit of the provider, which is not an error."""

    run: int
    code: str
    params: Params
    retry_after_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportQueued(Command):
    """Report that a run is waiting for a free slot, or no longer waits (`queued=False`)."""

    run: int
    queued: bool


JobCommand = (
    CreateJob | RenameJob | ConfigureJob | PauseJob | ResumeJob | RunJob | KillJob | RestoreJob | EditCursor
    | WakeJob | PurgeJob | ReportProgress | ReportError | ReportRateLimit | ReportQueued
)  # fmt: skip
