"""The imperative shell: Kafka, HTTP, the read store, settings and the command line."""
