"""Every connector there is, found by itself: a module of `providers` that declares `CONNECTOR` is one.

Adding a provider is adding a file. Importing them all must stay cheap: heavy libraries wait until reading starts.
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
    """Every connector by its name, in alphabetical order."""
    found: dict[str, Connector] = {}
    for module in sorted(each.name for each in pkgutil.iter_modules(providers.__path__) if not each.ispkg):
        connector = getattr(importlib.import_module(f"{providers.__name__}.{module}"), "CONNECTOR", None)
        if not isinstance(connector, Connector):
            continue
        if connector.name in found:
            raise ValueError(
                f"two connectors are named {connector.name!r}; the second is connectors/providers/{module}.py"
            )
        found[connector.name] = connector
    return MappingProxyType(dict(sorted(found.items())))


def connector(name: str) -> Connector | None:
    """The connector of that name, or None."""
    return catalog().get(name)


def is_pushed(provider: str, job_type: str) -> bool:
    """Whether the data of such jobs comes with a request."""
    found = connector(provider)
    kind = found.job_type(job_type) if found else None
    return kind is not None and kind.pushed
