"""Strategies for job histories: valid and hostile commands of users, the runner and the scheduler."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, get_args

from hypothesis import strategies as st

from projections.jobs.decide import handle, next_timer
from projections.jobs.evolve import evolve
from projections.jobs.state import Job
from schemas.commands import Counts, CreateJob, JobCommand, ReportRateLimit
from schemas.events import JobEvent
from schemas.policies import BlackoutWindow, Cadence, RetryPolicy
from tests.laws.record_strategies import TEXTS, anything, field_strategies

JOB = "job-1"
START = datetime(2026, 3, 28, 21, 0, tzinfo=UTC)  # hours before Europe sets its clocks forward
COMMANDS: tuple[type, ...] = get_args(JobCommand)

ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"])
WINDOWS = st.builds(
    BlackoutWindow,
    start=st.sampled_from(["00:00", "02:30", "12:00", "22:00"]),
    end=st.sampled_from(["00:00", "02:00", "06:30", "23:59"]),
    days=st.sampled_from([(), ("sun",), ("mon", "tue")]),
)
CADENCES = st.builds(
    Cadence,
    kind=st.sampled_from(["once", "continuous", "interval", "cron"]),
    every_seconds=st.sampled_from([1, 300, 90_000]),
    cron=st.sampled_from(["*/5 * * * *", "30 2 * * *", "0 0 29 2 *", "0 3 L * *", "15 10 * * *"]),
    time_zone=ZONES,
    blackout_windows=st.lists(WINDOWS, max_size=2).map(tuple),
)
POLICIES = st.builds(
    RetryPolicy,
    base_seconds=st.sampled_from([1, 60]),
    cap_seconds=st.sampled_from([1, 1_800]),
    floor_seconds=st.sampled_from([1, 5]),
    give_up_seconds=st.sampled_from([1, 36_000]),
)
COUNTS = st.builds(Counts, read=st.integers(0, 9), accepted=st.integers(0, 9), omitted=st.integers(0, 3))
JSON = st.sampled_from(["{}", '{"row":7}', '{"a":{"b":[1,2]}}'])
STEPS = st.one_of(
    st.sampled_from([timedelta(), timedelta(minutes=1), timedelta(hours=10), timedelta(days=90), timedelta(days=-3)]),
    st.timedeltas(timedelta(minutes=-5), timedelta(hours=12)),
)
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "cadence": CADENCES,
    "retry": POLICIES,
    "counts": COUNTS,
    "configuration": JSON,
    "cursor": JSON,
    "name": st.just("Orders"),
    "description": st.just(""),
    "expected_revision": st.none(),
    "rules": st.just(1),
    "bytes_read": st.just(10),
    "bytes_total": st.none(),
    "fault": st.just("provider"),
    "advice": st.sampled_from(["retry", "retry", "retry", "fix_configuration", "restore_source"]),
    "issued_at": st.just(START),
}
WAITS = st.sampled_from([0.0, 60.0, 90_000.0])
SEEDS = st.sampled_from([0, 2**62, 2**63 - 1])


@dataclass(frozen=True)
class History:
    """Commands in offset order, their events, and the resulting state."""

    commands: tuple[JobCommand, ...] = ()
    events: tuple[JobEvent, ...] = ()
    state: Job | None = None

    def then(self, command: JobCommand) -> "History":
        state, events = handle(self.state, command, len(self.commands))
        return History((*self.commands, command), (*self.events, *events), state)


def evolve_all(state: Job | None, events: tuple[JobEvent, ...]) -> Job | None:
    for event in events:
        state = evolve(state, event)
    return state


@cache
def _command(kind: type, *, wild: bool) -> st.SearchStrategy[Any]:
    if wild:
        return anything(kind)
    return st.builds(kind, **{name: _likely(kind, name, strategy) for name, strategy in field_strategies(kind).items()})


def _likely(kind: type, name: str, strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    if name == "retry_after_seconds":
        return WAITS if kind is ReportRateLimit else st.none() | WAITS
    if name == "seed":
        return SEEDS
    return LIKELY.get(name, strategy) if strategy is not TEXTS else LIKELY.get(name, st.just("text"))


CHOICES = st.tuples(st.sampled_from(COMMANDS), st.integers(0, 9), st.integers(0, 3), STEPS)


@st.composite
def commands(draw: Callable[..., Any], history: History, *, hostile: bool | None = None) -> JobCommand:
    """A next command, mostly valid and at a significant time."""
    state = history.state
    kind, chance, moment, step = draw(CHOICES)
    wild = chance == 0 if hostile is None else hostile
    kind = kind if history.commands else CreateJob
    fields: dict[str, Any] = {"job_id": JOB, "command_id": f"c{len(history.commands)}"}
    if not wild:
        fields["issued_at"] = _moment(state, moment, step)
        due = {"run": state.run, "report": state.report + 1} if state else {"run": 0, "report": 1}
        fields |= {name: value for name, value in due.items() if name in kind.__dataclass_fields__}
    return replace(draw(_command(kind, wild=wild)), **fields)


def _moment(state: Job | None, choice: int, step: timedelta) -> datetime:
    """Now, at the next timer, a second before it, or after any step, including steps back."""
    if state is None:
        return START
    now = min(state.updated_at, datetime(2200, 1, 1, tzinfo=UTC))
    timer = next_timer(state)
    due = timer[0] if timer and timer[0].year < 2100 else now
    return (now, due, due - timedelta(seconds=1), now + step)[choice]


@st.composite
def histories(draw: Callable[..., Any], max_commands: int = 12) -> History:
    history = History()
    for _ in range(draw(st.integers(1, max_commands))):
        history = history.then(draw(commands(history)))
    return history


ANY_COMMAND = st.one_of([anything(command) for command in COMMANDS])
ANY_EVENT = st.one_of([anything(event) for event in get_args(JobEvent)])
