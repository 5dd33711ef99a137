"""Loads the settings and the cluster for commands that use Kafka themselves, without the API."""

from app.cli.exits import UNAVAILABLE, CommandError
from app.cli.service.settings_errors import load_settings
from app.kafka.clients import KafkaCluster
from app.kafka.cluster import KafkaPasswordError, cluster_of, resolve_kafka
from app.settings import Settings


def load_cluster() -> tuple[Settings, KafkaCluster]:
    """Return the settings and the cluster: the configured one, or the embedded broker of the data directory."""
    settings = resolve_kafka(load_settings({}))
    try:
        return settings, cluster_of(settings)
    except KafkaPasswordError as error:
        raise CommandError(str(error), UNAVAILABLE) from error
