"""A stock Faust app, for reference measurements in a process of its own."""

from typing import Any

import faust

from app.kafka.cluster import cluster_of
from app.kafka.safe_faust.app import connection_of
from app.settings import Settings


def stock_app(name: str, **options: Any) -> faust.App:
    """Return an app with the cluster and the partitions of the settings in the environment."""
    settings = Settings()
    return faust.App(
        name,
        datadir=settings.data_dir / "stock",
        web_enabled=False,
        topic_partitions=settings.partitions,
        **connection_of(cluster_of(settings)),
        **options,
    )
