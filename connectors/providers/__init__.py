"""The catalogue: one module for each provider."""
