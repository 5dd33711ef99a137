"""`entrepot master-key`: creates and announces the master key where no supervisor does it. Needs no API."""

import asyncio
from pathlib import Path

import click

from app.cli.exits import DIFFERS, UNAVAILABLE, CommandError
from app.cli.service.cluster import load_cluster
from app.cli.service.settings_errors import DATA_DIR
from app.data_dir import UnsafeDataDirError, prepare_data_dir
from app.sentences.escapes import escaped
from app.supervisor.master_key import prepare_master_key
from app.vault.master_key import master_key_path


@click.command("master-key")
@DATA_DIR
def master_key(data_dir: Path | None) -> None:
    """Create the master key, unless secrets are sealed with another one, and announce it to the API.

    `entrepot up` does this at each start. On a cluster, run it with the settings and the data directory of the runner:
    once, and after each change of the key or of the database. Exit code 7 when a key is missing.
    """
    settings, cluster = load_cluster(data_dir)
    try:
        prepare_data_dir(settings.data_dir)
        problem = asyncio.run(prepare_master_key(settings, cluster))
    except (UnsafeDataDirError, OSError) as error:
        raise CommandError(str(error), UNAVAILABLE) from error
    if problem:
        raise CommandError(problem, DIFFERS)
    click.echo(escaped(f"the master key is in {master_key_path(settings)}; back it up"))
