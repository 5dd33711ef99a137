"""The documented ACLs cover the declared topics and roles."""

import pytest
from confluent_kafka.admin import AclOperation, ResourcePatternType, ResourceType

from app.roles import ROLES
from schemas.topics import TOPICS
from tests.kafka_acls import documented_acls

ACLS = documented_acls()


def test_every_role_has_a_user() -> None:
    assert {acl.principal for acl in ACLS} == {"User:operator", *(f"User:{role.name}" for role in ROLES)}


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_is_created_read_and_written_by_a_user(topic: str) -> None:
    operations = set()
    for acl in ACLS:
        is_prefix = acl.resource_pattern_type == ResourcePatternType.PREFIXED and topic.startswith(acl.name)
        if acl.restype == ResourceType.TOPIC and (is_prefix or acl.name == topic):
            operations.add(acl.operation)
    assert {AclOperation.CREATE, AclOperation.READ, AclOperation.WRITE} <= operations


def test_only_control_writes_events() -> None:
    writers = {acl.principal for acl in ACLS if acl.name.endswith(".events") and acl.operation == AclOperation.WRITE}
    assert writers == {"User:control"}
