"""Edges and wiring: Faust, Kafka, HTTP, the read store, settings, the command line."""
