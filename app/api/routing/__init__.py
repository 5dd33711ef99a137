"""Routes as data: validated, dispatched and documented. Independent of resources."""
