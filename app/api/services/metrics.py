"""The Prometheus metrics of an API process."""

from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics of one API; each has a registry of its own, so that several APIs can run in one process."""

    registry: CollectorRegistry
    requests: Counter
    request_seconds: Histogram
    commands: Counter
    visible_seconds: Histogram
    listeners: Gauge
    listeners_dropped: Counter
    lane_lag_records: Gauge
    lane_lag_seconds: Gauge
    lane_paused: Gauge
    blocked_identities: Gauge
    jobs: Gauge = field(repr=False)


def new_metrics() -> Metrics:
    """Return metrics that are all zero."""
    registry = CollectorRegistry()
    return Metrics(
        registry=registry,
        requests=Counter(
            "entrepot_http_requests", "Requests answered", ("method", "route", "status"), registry=registry
        ),
        request_seconds=Histogram(
            "entrepot_http_request_seconds", "Time to answer", ("method", "route"), registry=registry, buckets=SECONDS
        ),
        commands=Counter(
            "entrepot_api_commands", "Commands sent, by what became of them", ("command", "outcome"), registry=registry
        ),
        visible_seconds=Histogram(
            "entrepot_api_command_visible_seconds",
            "From a command sent to its events visible in the views",
            registry=registry,
            buckets=SECONDS,
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
        blocked_identities=Gauge(
            "entrepot_blocked_identities", "Identities with a blocked value", ("lane", "kind"), registry=registry
        ),
        jobs=Gauge("entrepot_jobs", "Jobs by status", ("status",), registry=registry),
    )
