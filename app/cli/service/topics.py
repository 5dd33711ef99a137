"""`entrepot topics`: compares the topics of the cluster with their declarations. Needs no API."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from app.cli.exits import DIFFERS, UNAVAILABLE, CommandError
from app.cli.output import Column, OutputFormat, show
from app.cli.service.cluster import load_cluster
from app.cli.service.settings_errors import DATA_DIR
from app.kafka.clients import KafkaCluster
from app.kafka.topics import ClusterUnreachable, TopicRow, TopicsError, describe_topics, ensure_topics
from app.sentences.escapes import escaped
from app.settings import Settings
from schemas.topics import TOPICS

COLUMNS = (
    Column("topic", lambda row: row["topic"]),
    Column("state", lambda row: row["state"], shrinks=True),
    Column("partitions", lambda row: row["partitions"], right=True, drop=2),
    Column("replicas", lambda row: row["replicas"], right=True, drop=3),
    Column("offsets", lambda row: row["offsets"], right=True),
    Column("carries", lambda row: row["carries"], drop=4),
)


@click.command()
@click.option("--create", is_flag=True, help="Create missing topics; existing ones are never changed.")
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table")
@DATA_DIR
def topics(data_dir: Path | None, output: OutputFormat, *, create: bool) -> None:
    """Show the state of every declared topic on the cluster. `offsets` includes transaction markers.

    Exit code 7 when a topic is missing or differs from its declaration.
    """
    settings, cluster = load_cluster(data_dir)
    described = asyncio.run(_create_and_describe(settings, cluster) if create else _describe(cluster))
    rows = [_row(row, settings.partitions) for row in described]
    show(rows, output, COLUMNS)
    wrong = [str(difference) for row in described for difference in row.differences(settings.partitions)]
    for difference in wrong:
        click.echo(escaped(difference), err=True)
    if wrong or not all(row.exists for row in described):
        raise click.exceptions.Exit(DIFFERS)


async def _describe(cluster: KafkaCluster) -> tuple[TopicRow, ...]:
    try:
        return await describe_topics(cluster, TOPICS.values())
    except ClusterUnreachable as error:
        raise CommandError(str(error), UNAVAILABLE) from error


async def _create_and_describe(settings: Settings, cluster: KafkaCluster) -> tuple[TopicRow, ...]:
    try:
        await ensure_topics(cluster, TOPICS.values(), settings.partitions, settings.replication_factor)
    except TopicsError as error:
        raise CommandError(str(error), UNAVAILABLE if isinstance(error, ClusterUnreachable) else DIFFERS) from error
    return await _describe(cluster)


def _row(row: TopicRow, partitions: int) -> Mapping[str, Any]:
    differs = [difference.setting for difference in row.differences(partitions)]
    leaderless = f"{row.leaderless} partitions without a leader" if row.leaderless else ""
    return {
        "topic": row.topic.name,
        "state": "missing"
        if not row.exists
        else leaderless or (f"differs: {', '.join(differs)}" if differs else "as declared"),
        "partitions": row.partitions,
        "replicas": row.replicas,
        "offsets": sum(offsets.end - offsets.begin for offsets in row.offsets),
        "carries": row.topic.carries,
    }
