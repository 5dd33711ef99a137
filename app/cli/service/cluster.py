"""Loads the settings and the cluster for commands that use Kafka themselves, without the API."""

from pathlib import Path

import click

from app.cli.exits import UNAVAILABLE, CommandError
from app.cli.service.settings_errors import settings_of
from app.kafka.clients import KafkaCluster
from app.kafka.cluster import KafkaPasswordError, NoClusterError, cluster_of, resolve_kafka
from app.sentences.escapes import escaped
from app.settings import Settings


def load_cluster(data_dir: Path | None) -> tuple[Settings, KafkaCluster]:
    """Return the settings and the cluster: the configured one, or the embedded broker of the data directory.

    Prints which one it is: a command must not use another cluster unnoticed.
    """
    try:
        settings = resolve_kafka(settings_of(data_dir))
        cluster = cluster_of(settings)
    except (KafkaPasswordError, NoClusterError) as error:
        raise CommandError(str(error), UNAVAILABLE) from error
    where = f"Kafka at {cluster.bootstrap_servers} (data directory: {settings.data_dir})"
    click.echo(click.style(escaped(where), dim=True), err=True)
    return settings, cluster
