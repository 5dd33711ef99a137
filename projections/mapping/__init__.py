"""Mapping of messages to identities and attributes."""
