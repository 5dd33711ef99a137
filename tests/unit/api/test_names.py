"""What two parts of the house call the same thing."""

from app.api.services.cluster_health import CONTROL_GROUP
from app.control.role import APP_ID


def test_readiness_asks_for_the_group_that_control_is() -> None:
    assert CONTROL_GROUP == APP_ID
