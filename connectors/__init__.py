"""Asynchronous clients of data providers, one module each. Independent of Kafka."""
