"""Names that two modules have to agree on."""

from app.api.services.cluster_health import CONTROL_GROUP
from app.control.role import APP_ID


def test_readiness_checks_the_consumer_group_of_control() -> None:
    assert CONTROL_GROUP == APP_ID
