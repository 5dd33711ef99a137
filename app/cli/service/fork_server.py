"""The process from which `entrepot up` forks its roles."""

import gc
import sys

import setproctitle

from app.cli.main import escape_unencodable, main
from app.cli.service import commands  # noqa: F401  # imported for the forks
from app.roles import preload
from app.supervisor.fork_server import serve

if __name__ == "__main__":
    gc.disable()  # imported modules are never garbage
    preload()
    setproctitle.setproctitle("entrepot fork server")
    gc.freeze()  # else the first collection of each fork would copy all memory
    escape_unencodable()
    sys.argv[1:] = serve()
    main()
