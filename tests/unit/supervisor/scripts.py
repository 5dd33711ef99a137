"""A fork server for tests."""

import sys

# Forks run the script that is their argument.
SCRIPTS = (sys.executable, "-u", "-c", "from app.supervisor.fork_server import serve; exec(serve()[0])")
