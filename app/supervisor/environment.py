"""Convert settings to environment variables for a child process; `Settings()` reads them back."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from app.settings import Settings


def environment_of(settings: Settings, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return `base` with every `ENTREPOT_*` name replaced by these settings."""
    prefix = str(settings.model_config["env_prefix"])
    others = {name: value for name, value in base.items() if not name.upper().startswith(prefix)}
    values = {name: getattr(settings, name) for name in Settings.model_fields}
    return others | {prefix + name.upper(): _text(value) for name, value in values.items() if value is not None}


def _text(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case SecretStr():
            return value.get_secret_value()
        case tuple():
            return os.pathsep.join(map(str, value))
        case Path():
            return str(value.absolute())
        case _:
            return str(value)
