"""Parsing of the timestamps in messages. Connectors and mappings share it."""
