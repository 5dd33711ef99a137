"""Definitions, as read from `definitions.events`: followed, folded, compiled."""
