"""An independent model of a job's life cycle, written from the design: the oracle of the state machine test.

Times are UTC; the one blackout window is 12:00 to 14:00. The time of failing is added up at every step.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

TEN_HOURS = timedelta(hours=10)
NINETY_DAYS = timedelta(days=90)
RESTING = {"Failed", "Paused", "Completed", "Killed"}
NO_ERROR_WAITS = {"rate_limit", "blackout_window"}


def is_blackout(moment: datetime) -> bool:
    return 12 <= moment.hour < 14


def noon(moment: datetime) -> datetime:
    return moment.replace(hour=12, minute=0, second=0, microsecond=0)


@dataclass
class Model:
    """The state of a job that a user can observe."""

    now: datetime
    status: str = "Absent"
    reason: str = ""
    since: datetime | None = None
    sleep_until: datetime | None = None
    pause_until: datetime | None = None
    cadence: str = "once"
    blackout: bool = False
    run: int = 0
    reports: int = 0
    revision: int = 1
    cursor: str = "{}"
    accepted: int = 0
    pass_accepted: int = 0
    pass_began: datetime | None = None
    anchor: datetime | None = None  # of the slots of an interval: the creation, then the start of the latest pass
    errors: int = 0
    failing: timedelta = field(default_factory=timedelta)

    def advance(self, moment: datetime) -> None:
        """Advance to a moment; time never goes back."""
        passed = max(moment - self.now, timedelta())
        self.now += passed
        if self.errors and not (self.status == "Sleeping" and self.reason in NO_ERROR_WAITS):
            self.failing += passed

    def enter(self, status: str, reason: str = "") -> None:
        self.status, self.reason, self.since = status, reason, self.now
        self.sleep_until = self.pause_until = None

    def succeed(self) -> None:
        self.errors, self.failing = 0, timedelta()

    def start(self, *, respect_blackout: bool = True) -> list[str]:
        if respect_blackout and self.blackout and is_blackout(self.now):
            self.enter("Sleeping", "blackout_window")
            self.sleep_until = noon(self.now) + timedelta(hours=2)
            return ["JobSlept"]
        self.enter("Running")
        self.run += 1
        if self.pass_began is None:
            self.pass_began, self.pass_accepted = self.now, 0
            self.anchor = self.now
        return ["JobStarted"]

    def slot(self) -> datetime | None:
        """The next time of the schedule; None for a job that may run at any time."""
        if self.cadence == "cron":
            daily = self.now.replace(hour=6, minute=0, second=0, microsecond=0)
            return daily if daily > self.now else daily + timedelta(days=1)
        if self.cadence != "interval":
            return None
        assert self.anchor
        following = self.anchor
        while following <= self.now:
            following += timedelta(hours=3)
        return following

    def wait(self) -> list[str]:
        self.enter("Sleeping", "cadence")
        self.sleep_until = self.slot() or self.now
        return ["JobSlept"]

    def enter_schedule(self, *, run_now: bool) -> list[str]:
        if run_now or self.slot() is None:
            return self.start(respect_blackout=not run_now)
        return self.wait()

    def resume(self, *, run_now: bool = False) -> list[str]:
        self.enter("Running")
        self.succeed()
        return ["JobResumed", *self.enter_schedule(run_now=run_now)]

    def configure(self, cadence: str, *, blackout: bool) -> list[str]:
        """Change the schedule; a job that waits for a scheduled time waits for one of the new schedule."""
        changed = (cadence, blackout) != (self.cadence, self.blackout)
        self.cadence, self.blackout = cadence, blackout
        waits = changed and cadence != "once" and (self.status, self.reason) == ("Sleeping", "cadence")
        return ["JobConfigured", *(self.wait() if waits else [])]

    def wake(self) -> list[str]:
        if self.status == "Sleeping" and self.sleep_until and self.now >= self.sleep_until:
            return self.start()
        if self.status == "Paused" and self.pause_until and self.now >= self.pause_until:
            return self.resume()
        blackout_began = self.blackout and is_blackout(self.now) and self.since and noon(self.now) > self.since
        if self.status == "Running" and blackout_began:
            return self.start()
        return ["not_due" if self.status in {"Running", "Sleeping", "Paused"} else "not_allowed"]

    def purge(self) -> list[str]:
        if self.status not in RESTING:
            return ["not_allowed"]
        if self.pause_until or not self.since or self.now - self.since < NINETY_DAYS:
            return ["not_due"]
        self.enter("Purged")
        self.cursor = "{}"
        return ["JobPurged"]

    def progress(self, *, run: int, report: int, accepted: int, cursor: str, done: bool) -> list[str]:
        if report != self.reports + 1:
            return ["report_out_of_order"]
        self.reports, self.cursor = report, cursor
        self.accepted += accepted
        self.pass_accepted += accepted
        if accepted:
            self.succeed()
        if not (done and self.status == "Running" and run == self.run):
            return ["JobProgressed"]
        return ["JobProgressed", "JobSynced", *self.end_pass()]

    def end_pass(self) -> list[str]:
        began, self.pass_began = self.pass_began, None
        assert began
        self.succeed()
        if self.cadence == "once":
            self.enter("Completed")
            return ["JobCompleted"]
        self.wait()
        if self.cadence == "continuous":
            self.sleep_until = self.now + timedelta(seconds=7)
        if self.cadence == "interval":
            self.sleep_until = max(self.now, began + timedelta(hours=3))
        return ["JobSlept"]

    def fail(self, advice: str) -> list[str]:
        """Record an error. The delay is random; `backoff_range` returns its bounds."""
        self.errors += 1
        outlasts = advice == "restore_source" and self.cadence != "once"
        if not outlasts and (advice != "retry" or self.failing >= TEN_HOURS):
            self.enter("Failed")
            return ["JobErrored", "JobFailed"]
        self.enter("Sleeping", "error_backoff")
        return ["JobErrored", "JobSlept"]

    def retry_range(self, advice: str, retry_after: float | None) -> tuple[timedelta, timedelta]:
        """The bounds of the delay. A source that is away is looked for by the next slot, however long that lasts."""
        if advice == "retry":
            return self.backoff_range(retry_after)
        slot = self.slot()
        left = slot - self.now if slot else timedelta(minutes=30)
        if self.failing >= TEN_HOURS:
            return left, left
        shortest, longest = self.backoff_range(retry_after, base=timedelta(minutes=1) if slot else timedelta(seconds=7))
        return (min(shortest, left), min(longest, left)) if slot else (shortest, longest)

    def backoff_range(
        self, retry_after: float | None, base: timedelta = timedelta(minutes=1)
    ) -> tuple[timedelta, timedelta]:
        """The bounds of the delay: 1 s to 1, 2, 4 … 30 min, or the retry-after; never past the ten hours."""
        ceiling = min(timedelta(minutes=30), base * 2 ** min(self.errors - 1, 9))
        left = TEN_HOURS - self.failing
        shortest = longest = timedelta(seconds=max(1.0, retry_after)) if retry_after is not None else None
        if shortest is None or longest is None:
            shortest, longest = timedelta(seconds=1), ceiling
        return min(shortest, left), min(longest, left)
