"""Routes as data: validated, dispatched and documented. Knows no resources."""
