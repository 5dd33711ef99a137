"""The Prometheus metrics of an API process."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from app.store.models import LaneRejected, Total

BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds

TOTALS: Final[Mapping[str, str]] = {
    "records": "Records of jobs, by outcome",
    "runs": "Runs, by outcome: started, synced, errored, completed or failed",
    "retries": "Waits of jobs for another attempt, by reason",
}


class TotalsCollector(Collector):
    """Counters that the read store has, the same in all API processes and after a restart; and the versions."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.totals: Sequence[Total] = ()
        self.rejected: Sequence[LaneRejected] = ()
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the counters and the versions."""
        for measure, text in TOTALS.items():
            family = CounterMetricFamily(f"entrepot_{measure}", text, labels=("provider", "job_type", "outcome"))
            for total in self.totals:
                if total.measure == measure:
                    family.add_metric((total.provider, total.job_type, total.outcome), total.count)
            yield family
        family = CounterMetricFamily(
            "entrepot_lane_dead_letters", "Dead letters of lanes, by code", labels=("lane", "code")
        )
        for rejected in self.rejected:
            family.add_metric((rejected.lane, rejected.code), rejected.count)
        yield family
        versions = {"version": version("entrepot"), "python": platform.python_version()}
        yield InfoMetricFamily("entrepot_build", "The versions of Entrepot and Python", versions)


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics of one API; each has a registry of its own, so that several APIs can run in one process."""

    registry: CollectorRegistry
    totals: TotalsCollector
    requests: Counter
    request_seconds: Histogram
    commands: Counter
    visible_seconds: Histogram
    listeners: Gauge
    listeners_dropped: Counter
    lane_lag_records: Gauge
    lane_lag_seconds: Gauge
    lane_paused: Gauge
    dead_letters: Gauge
    blocked_identities: Gauge
    jobs: Gauge = field(repr=False)


def new_metrics() -> Metrics:
    """Return metrics that are all zero."""
    registry = CollectorRegistry()
    return Metrics(
        registry=registry,
        totals=TotalsCollector(registry),
        requests=Counter("entrepot_http_requests", "HTTP requests", ("method", "route", "status"), registry=registry),
        request_seconds=Histogram(
            "entrepot_http_request_seconds", "Response time", ("method", "route"), registry=registry, buckets=BUCKETS
        ),
        commands=Counter(
            "entrepot_api_commands", "Commands sent, by outcome", ("command", "outcome"), registry=registry
        ),
        visible_seconds=Histogram(
            "entrepot_api_command_visible_seconds",
            "Seconds from sending a command until the views show its events",
            registry=registry,
            buckets=BUCKETS,
        ),
        listeners=Gauge("entrepot_api_event_listeners", "Clients that follow events", registry=registry),
        listeners_dropped=Counter(
            "entrepot_api_event_listeners_dropped", "Clients dropped because they read too slowly", registry=registry
        ),
        lane_lag_records=Gauge(
            "entrepot_lane_lag_records", "Unprocessed records, by lane and step", ("lane", "step"), registry=registry
        ),
        lane_lag_seconds=Gauge(
            "entrepot_lane_lag_seconds",
            "Age of the oldest unprocessed record in seconds, by lane and step",
            ("lane", "step"),
            registry=registry,
        ),
        lane_paused=Gauge("entrepot_lane_paused", "Whether a lane is paused", ("lane",), registry=registry),
        dead_letters=Gauge("entrepot_dead_letters", "Offsets of dead letters, with markers", registry=registry),
        blocked_identities=Gauge(
            "entrepot_blocked_identities", "Identities with a blocked value", ("lane", "kind"), registry=registry
        ),
        jobs=Gauge("entrepot_jobs", "Jobs by status", ("status",), registry=registry),
    )
