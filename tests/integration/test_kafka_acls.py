"""Each role works with the ACLs that `docs/operations.md` grants to its user."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from app.cli.service.kafka_config import librdkafka_settings
from app.roles import ROLES
from app.supervisor.broker import config
from app.supervisor.broker.server import Broker
from app.supervisor.environment import environment_of
from tests.integration.api.rig import as_caller, until_ready, url_of
from tests.integration.support.service import Service, service
from tests.kafka_acls import documented_acls

USERS = ("operator", *(role.name for role in ROLES))
FILES = {
    "identity.yaml": "kinds: [{kind: email, rank: 0, title: E-mail}, {kind: cookie, rank: 5, title: Cookie}]\n"
    "max_identities: 100\n",
    "people.yaml": "identities: [{field: email, kind: email}, {field: cookie, kind: cookie}]\n"
    "attributes: [{name: visits, merge: count}, {name: age, field: age, type: integer, merge: latest}]\n",
    "people.csv": "email,cookie,age\na@x,c1,7\na@x,c2,old\nrejected\n",
}
COMMANDS = (
    "identity draft identity.yaml",
    "identity apply",
    "mapping draft people people.yaml",
    "mapping apply people",
    "job create --provider file --name People --wait source=people.csv stream=people",
    "collect people people.csv --wait",
    "profile explain cookie:c1",
    "job undo People --wait",
    "rebuild promote --wait",
    "profile forget cookie:c1 --yes",
    "verify",
)


@pytest.fixture
def authorized(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have brokers authorize a user for each role, and log what they deny."""
    users = "".join(f' user_{user}="${{directory:.:password}}"' for user in USERS)
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:entrepot",
        "listener.name.broker.plain.sasl.jaas.config": f"{config.JAAS.rstrip(';')}{users};",
    }
    for name, value in properties.items():
        monkeypatch.setitem(config.FIXED, name, value)
    denials = "-Dorg.slf4j.simpleLogger.log.kafka.authorizer.logger=info"
    monkeypatch.setenv("JDK_JAVA_OPTIONS", f"{os.environ.get('JDK_JAVA_OPTIONS', '')} {denials}")


@pytest.mark.usefixtures("authorized")
async def test_each_role_works_with_its_acls(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    async with await Broker.start(tmp_path / "broker") as broker:
        await asyncio.to_thread(add_acls, broker)
        async with service(tmp_path, broker, roles=()) as running:
            for role in ROLES:
                await running.start_role(role.name, ENTREPOT_KAFKA_USER=role.name)
            async with as_caller(await url_of(running), None) as client:
                await until_ready(client)
            for command in COMMANDS:
                await run(running, *command.split())
        assert denied(broker) == set()


def add_acls(broker: Broker) -> None:
    admin = AdminClient(librdkafka_settings(broker.cluster))
    for created in admin.create_acls(list(documented_acls())).values():
        created.result(30)


async def run(running: Service, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.cli.main", *arguments),
        cwd=running.settings.data_dir,
        env=environment_of(running.settings) | {"ENTREPOT_KAFKA_USER": "operator"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, (arguments, output.decode(), denied(running.broker), running.log_lines[-5:])


def denied(broker: Broker) -> set[tuple[str, ...]]:
    """Return user, operation and resource of each denial."""
    log = (broker.data_dir / "kafka.log").read_text()
    return set(re.findall(r"Principal = (\S+) is Denied operation = (\S+) .*? on resource = (\S+)", log))
