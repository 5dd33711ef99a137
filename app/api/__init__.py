"""The `api` role: turns requests into commands, and serves the read models. It decides nothing."""
