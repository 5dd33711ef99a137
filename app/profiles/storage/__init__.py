"""Where profiles are kept: a RocksDB store per partition, and snapshots of them."""
