"""The ACLs of a cluster, parsed from the commands in `docs/operations.md`."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

PAGE = Path(__file__).parents[1] / "docs" / "operations.md"
RESOURCES = {
    "--topic": ResourceType.TOPIC,
    "--group": ResourceType.GROUP,
    "--transactional-id": ResourceType.TRANSACTIONAL_ID,
}


def documented_acls() -> tuple[AclBinding, ...]:
    """Return the ACLs that the commands of the page add."""
    block = re.search(r"```sh acls\n(.+?)```", PAGE.read_text(), re.DOTALL)
    assert block
    lines = block[1].replace("\\\n", " ").splitlines()
    return tuple(acl for line in lines if line.startswith("acl ") for acl in _acls(*shlex.split(line)[1:]))


def _acls(user: str, *arguments: str) -> Iterator[AclBinding]:
    options = list(zip(arguments[::2], arguments[1::2], strict=True))
    pattern = ResourcePatternType[dict(options).get("--resource-pattern-type", "literal").upper()]
    operations = [_operation(value) for name, value in options if name == "--operation"]
    for option, name in options:
        if option in RESOURCES:
            for operation in operations:
                yield AclBinding(
                    RESOURCES[option], name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW
                )


def _operation(name: str) -> AclOperation:
    return AclOperation[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()]
