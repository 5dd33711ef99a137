"""Apache Kafka as a child process: fetch, configure, start, monitor and stop it. Independent of topics."""
