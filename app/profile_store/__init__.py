"""Durable state of a partition: a RocksDB store, and snapshots of it in a directory or in S3."""
