"""Definitions as `definitions.events` tells them: followed, folded, compiled."""
