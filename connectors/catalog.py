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
    return (provider, job_type) in pushed_types()


@cache
def pushed_types() -> frozenset[tuple[str, str]]:
    """Return the provider and the name of every pushed job type; their jobs are uploads."""
    return frozenset(
        (provider.name, job_type.name)
        for provider in catalog().values()
        for job_type in provider.job_types
        if job_type.pushed
    )
