"""Sentences of codes: made here, at the edge, for the API, the command line, logs and pages."""
