"""Health, tokens, providers and the schema registry over HTTP."""
