"""Which network addresses a connector may reach: by default only public ones, so that no job can explore the inside.

The address that was checked is the one that is connected to, so a name can't change its address in between.
"""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from connectors.contract import FixConfiguration

NAT64: Final = IPv6Network("64:ff9b::/96")
RESERVED: Final = (  # which some versions of Python call global
    IPv4Network("192.0.0.0/24"),  # RFC 6890
    IPv6Network("fec0::/10"),  # site-local, RFC 3879
    IPv6Network("64:ff9b:1::/48"),  # translation within a network, RFC 8215
    IPv6Network("3fff::/20"),  # documentation, RFC 9637
)


def is_public(text: str) -> bool:
    """Whether an IP address is one of the public internet, also where IPv6 only wraps an IPv4 address."""
    address = ip_address(text.split("%", 1)[0])
    return all(map(_plainly_public, (address, *_wrapped(address))))


def _plainly_public(address: IPv4Address | IPv6Address) -> bool:
    reserved = any(address in each for each in RESERVED)
    return address.is_global and not address.is_multicast and not reserved


def _wrapped(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    if isinstance(address, IPv4Address):
        return []
    inside = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in NAT64:
        inside.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in inside if each is not None]


def refuse_private(host: str) -> None:
    """Raise `FixConfiguration` when `host` is an address itself, which no resolver gets to see, and isn't public."""
    try:
        public = is_public(host.strip("[]"))
    except ValueError:
        return  # a name: the resolver checks what it stands for
    if not public:
        raise _private(host)


class PublicResolver(AbstractResolver):
    """Resolves names, and refuses one that stands for any address that isn't public."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Every address of `host`, all of them public."""
        found = await self._resolver.resolve(host, port, family)
        if not all(is_public(each["host"]) for each in found):
            raise _private(host)
        return found

    async def close(self) -> None:
        """Nothing stays open."""
        await self._resolver.close()


def _private(host: str) -> FixConfiguration:
    return FixConfiguration(
        "private_address",
        f"`{host}` is a private, local or reserved address, which this service doesn't fetch from; "
        "its operator can allow it with ENTREPOT_ALLOW_PRIVATE_NETWORKS",
    )
