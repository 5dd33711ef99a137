"""The catalog of connectors: every module in `connectors/providers/` that declares `CONNECTOR`.

To add a provider, add a module. Imports must stay cheap: a connector imports heavy libraries only when it reads.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from connectors import providers
from connectors.contract import Connector


@cache
def catalog() -> Mapping[str, Connector]:
    """Return all connectors by name, in alphabetical order.

    Raises:
        ValueError: two modules declare the same name.

    """
    connectors: dict[str, Connector] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(providers.__path__) if not info.ispkg):
        connector = getattr(importlib.import_module(f"{providers.__name__}.{module}"), "CONNECTOR", None)
        if not isinstance(connector, Connector):
            continue
        if connector.name in connectors:
            raise ValueError(
                f"duplicate connector name {connector.name!r}; the second is in connectors/providers/{module}.py"
            )
        connectors[connector.name] = connector
    return MappingProxyType(dict(sorted(connectors.items())))


def connector(name: str) -> Connector | None:
    """Return the connector with this name; None if there is none."""
    return catalog().get(name)


def is_pushed(provider: str, job_type: str) -> bool:
    """Whether jobs of this type get their data from a request to the API, rather than fetch it in a run."""
    declared = catalog().get(provider)
    declared_type = declared.job_type(job_type) if declared else None
    return declared_type is not None and declared_type.pushed
