"""What may be asked of a job. Imperative, frozen; time, ids and chance come in with the command.

Whoever writes a command stamps `command_id` (a UUID), `issued_at` (UTC), `seed` (63 random bits, for jitter) and
`rules`, the version of the rules it was issued under: so the events are a function of the commands alone.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from schemas.coded import Params
from schemas.policies import DEFAULT_RETRY, ONCE, Cadence, RetryPolicy

RULES: Final = 1
NAMESPACE: Final = "entrepot.jobs.commands"
MAX_TOTAL: Final = 10**18  # what a sum of counts or bytes stops at: it has to fit into a long for ever

Advice = Literal["retry", "wait", "fix_configuration", "renew_authorization"]
Fault = Literal["provider", "network", "configuration", "authorization", "entrepot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of records. The sum holds: `read == accepted + rejected + duplicate + omitted`.

    `added` and `removed` count profiles at a destination; an import leaves them at 0.
    """

    read: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicate: int = 0
    omitted: int = 0
    added: int = 0
    removed: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        """Return the sums, field by field; none goes over `MAX_TOTAL`."""
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
        """Records read and not accounted for; 0 when the sum holds."""
        return self.read - self.accepted - self.rejected - self.duplicate - self.omitted


NONE: Final = Counts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The envelope that every command has."""

    command_id: str
    job_id: str
    issued_at: datetime
    issued_by: str  # `user:NAME`, `runner` or `scheduler`
    seed: int = 0
    rules: int = RULES
    expected_revision: int | None = None  # refuse when people have edited the job since this revision


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateJob(Command):
    """Make a job and start it, or keep it as a draft (`start=False`)."""

    provider: str
    job_type: str
    kind: str  # import, export or enrichment
    name: str
    description: str = ""
    configuration: str = "{}"  # canonical JSON of the connector's configuration
    cadence: Cadence = ONCE
    retry: RetryPolicy = DEFAULT_RETRY
    start: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameJob(Command):
    """Change what people call the job."""

    name: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigureJob(Command):
    """Replace the configuration; `reverted_from` names the version that this brings back, if it does."""

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
    """Go on after a pause or a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunJob(Command):
    """Run now instead of waiting, or once more after completion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KillJob(Command):
    """Stop and put away; it can be restored until it is purged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreJob(Command):
    """Bring a killed job back, paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditCursor(Command):
    """Move where the job goes on; only while it is paused."""

    cursor: str  # JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeJob(Command):
    """The clock says that it is time to look again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeJob(Command):
    """The clock says that the job has rested for its 90 days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportProgress(Command):
    """Records are committed up to `cursor`, in the same transaction as this report.

    `report` counts a job's reports from 1 without a gap, across runs, so that a report applies exactly once.
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
    """The run stopped on an error; `advice` is the next step, `detail` what the provider said, without secrets."""

    run: int
    fault: Fault
    advice: Advice
    code: str
    params: Params
    detail: str = ""
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRateLimit(Command):
    """The provider asked to wait. Not an error."""

    run: int
    code: str
    params: Params
    retry_after_seconds: float


JobCommand = (
    CreateJob | RenameJob | ConfigureJob | PauseJob | ResumeJob | RunJob | KillJob | RestoreJob | EditCursor
    | WakeJob | PurgeJob | ReportProgress | ReportError | ReportRateLimit
)  # fmt: skip
