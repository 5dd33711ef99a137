"""Apache Kafka as a child process: found, fetched, configured, started, watched and stopped. Knows no topics."""
