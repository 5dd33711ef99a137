"""Mappings, identity rules and rebuilds over HTTP."""
