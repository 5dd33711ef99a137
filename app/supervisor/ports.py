"""The addresses of an instance: loopback, and ports that its data directory keeps; and which process holds a port."""

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, Literal

import orjson

from app.data_dir import write_private
from app.settings import Settings
from app.supervisor.restarts import NotStartedError

PORTS_FILE: Final = "ports.json"
LOOPBACK: Final = ("127.0.0.1", "::1")
MAX_NAME_CHARACTERS: Final = 60
LISTENING: Final = "0A"  # in /proc/net/tcp
PortName = Literal["api", "broker"]


@cache
def loopback(candidates: tuple[str, ...] = LOOPBACK) -> str:
    """Return the loopback address: 127.0.0.1, or ::1 on a machine without IPv4.

    Raises:
        NotStartedError: there is none.

    """
    for host in candidates:
        with suppress(OSError), socket.socket(family_of(host), socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
            return host
    raise NotStartedError(f"no loopback address ({', '.join(candidates)}); bring up the loopback interface")


def with_loopback(settings: Settings) -> Settings:
    """Return settings in which the roles bind to the loopback address, except those that are configured."""
    hosts = {"api_host", "profiles_bind_host"} - settings.model_fields_set
    return settings.model_copy(update=dict.fromkeys(hosts, loopback()))


def family_of(host: str) -> socket.AddressFamily:
    """Return the address family of a host name or an IP address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def address(host: str, port: int) -> str:
    """Return host:port, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def kept_port(data_dir: Path, name: PortName) -> int | None:
    """Return the port of an earlier start; None before the first."""
    try:
        port = orjson.loads((data_dir / PORTS_FILE).read_bytes()).get(name)
    except (OSError, ValueError, AttributeError):
        return None
    return port if isinstance(port, int) and 0 < port < 65_536 else None


def keep_ports(settings: Settings, requested: Settings) -> None:
    """Keep the ports of a start, except those for which any free one was requested."""
    ports = {name: kept_port(settings.data_dir, name) for name in ("api", "broker")}
    if requested.api_port != 0:
        ports["api"] = settings.api_port
    if requested.broker_port != 0 and not requested.bootstrap_servers:
        ports["broker"] = settings.broker_port
    write_private(settings.data_dir / PORTS_FILE, orjson.dumps(ports))


def with_free_api_port(settings: Settings, notify: Callable[[str], None]) -> Settings:
    """Return settings with a free port of the API: the configured one, else that of the first start, else any.

    Raises:
        NotStartedError: the configured port, or that of the first start, is in use.

    """
    is_configured = "api_port" in settings.model_fields_set
    kept = None if is_configured else kept_port(settings.data_dir, "api")
    port, host = kept or settings.api_port, settings.api_host
    if free := bindable_port(host, port):
        return settings.model_copy(update={"api_port": free})
    since = ", which this data directory has used so far," if kept else ""
    if is_configured or kept:
        raise NotStartedError(
            f"port {port} on {host}{since} is in use by {holder_of(port)}; stop it, or choose another with --port "
            "(0: any free one)"
        )
    free = bindable_port(host, 0)
    notify(f"port {port} is in use by {holder_of(port)}; using {free} for the API")
    return settings.model_copy(update={"api_port": free})


def bindable_port(host: str, port: int) -> int:
    """Bind and release a port (0: any free one), and return it; 0 if it is in use.

    Raises:
        NotStartedError: the address is invalid or not available.

    """
    try:
        with socket.create_server((host, port), family=family_of(host)) as probe:
            return int(probe.getsockname()[1])
    except UnicodeError as error:
        raise NotStartedError(f"ENTREPOT_API_HOST: {host[:100]!r} is not a valid host name") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return 0
        reason = str(error.strerror).partition(" (while")[0]  # drops the address, which Python appends as a tuple
        raise NotStartedError(
            f"ENTREPOT_API_HOST: the API can't listen on {host}, port {port}: {reason}; choose another"
        ) from error


def holder_of(port: int) -> str:
    """Name the process that listens on a TCP port: its program, id and directory, as far as this user may see them."""
    sockets = {f"socket:[{inode}]" for inode in _listeners(port)}
    for link in Path("/proc").glob("[0-9]*/fd/*") if sockets else ():
        with suppress(OSError):  # the process has ended, or belongs to another user
            if str(link.readlink()) in sockets:
                return _describe(link.parts[2])
    return "another process"


def _listeners(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        with suppress(OSError):  # not on Linux
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                if state == LISTENING and int(local.rpartition(":")[2], 16) == port:
                    yield rest[5]


def _describe(pid: str) -> str:
    process = Path("/proc", pid)
    program = process.joinpath("cmdline").read_text(errors="replace").partition("\0")[0]  # arguments may be secrets
    return f"`{Path(program).name[:MAX_NAME_CHARACTERS]}` (process {pid} in {process.joinpath('cwd').readlink()})"
