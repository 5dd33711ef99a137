"""Settings for a command, with errors a person can act on."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from app.cli.exits import REFUSED, Stopped
from app.settings import Settings


def load_settings(given: Mapping[str, Any]) -> Settings:
    """Return the settings of the environment, with what the command line says over them."""
    try:
        return Settings(**given)
    except ValidationError as error:
        # The value itself may be a secret, so it isn't shown.
        lines = [f"  ENTREPOT_{'_'.join(map(str, each['loc'])).upper()}: {each['msg']}" for each in error.errors()]
        raise Stopped("these settings can't be used:\n" + "\n".join(lines), REFUSED) from error
