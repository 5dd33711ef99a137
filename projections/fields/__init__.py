"""What the fields of a stream look like, and a mapping suggested from that."""
