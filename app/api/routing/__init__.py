"""Routes as data: checked, dispatched, documented."""
