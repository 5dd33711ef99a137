"""Shared tools of connectors: HTTP, local files, threads."""
