"""One file per provider: talking to it, asynchronously. Knows no Kafka."""
