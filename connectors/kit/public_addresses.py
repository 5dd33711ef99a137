"""Restrict connectors to public network addresses, so that a job can't probe the internal network (SSRF).

The client connects to the address that was checked, so a DNS name can't change in between (DNS rebinding).
"""

import asyncio
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from connectors.contract import FixConfiguration

EMBEDDING: Final = (  # the last 32 bits are an IPv4 address
    IPv6Network("::/96"),  # IPv4-compatible, RFC 4291
    IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated, RFC 2765
    IPv6Network("64:ff9b::/96"),  # NAT64, RFC 6052
)
RESERVED: Final = (  # some versions of Python report these as global
    IPv4Network("192.0.0.0/24"),  # RFC 6890
    IPv6Network("fec0::/10"),  # site-local, RFC 3879
    IPv6Network("64:ff9b:1::/48"),  # translation within a network, RFC 8215
    IPv6Network("3fff::/20"),  # documentation, RFC 9637
)


def is_public(text: str) -> bool:
    """Whether an IP address is public; an IPv6 address that embeds an IPv4 address needs both to be public."""
    address = ip_address(text.split("%", 1)[0])
    return all(map(_is_global, (address, *_embedded(address))))


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    reserved = any(address in network for network in RESERVED)
    return address.is_global and not address.is_multicast and not reserved


def _embedded(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    if isinstance(address, IPv4Address):
        return []
    candidates = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in EMBEDDING):
        candidates.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [candidate for candidate in candidates if candidate is not None]


def refuse_private(host: str) -> None:
    """Raise `FixConfiguration` if `host` is a literal address, which bypasses the resolver, and isn't public."""
    try:
        public = is_public(host.strip("[]"))
    except ValueError:
        return  # a DNS name: the resolver checks its addresses
    if not public:
        raise _private_address_error(host)


class ThreadResolver(AbstractResolver):
    """The system's resolver, in threads of the default executor: those of uvloop are four.

    With `DaemonThreads`, name servers that don't respond delay no other look-up.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of `host`."""
        addresses = await asyncio.get_running_loop().run_in_executor(
            None, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG
        )
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(hostname=host, host=_numeric(*address), port=port, family=kind, proto=proto, flags=numeric)
            for kind, _, proto, _, address in addresses
        ]

    async def close(self) -> None:
        """Do nothing: a thread ends with its look-up."""


def _numeric(host: int | str, _port: object, _flow: object = 0, scope: int | str | bytes = 0, /) -> str:
    return f"{host}%{scope!s}" if scope else str(host)


class PublicResolver(AbstractResolver):
    """A resolver that refuses names with a non-public address."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver or ThreadResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return all addresses of `host`; refuse the name if one isn't public."""
        results = await self._resolver.resolve(host, port, family)
        if not all(is_public(result["host"]) for result in results):
            raise _private_address_error(host)
        return results

    async def close(self) -> None:
        """Close the underlying resolver."""
        await self._resolver.close()


def _private_address_error(host: str) -> FixConfiguration:
    return FixConfiguration("private_address", {"host": host})
