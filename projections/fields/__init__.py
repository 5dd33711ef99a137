"""Statistics of the fields of a stream, and a mapping suggested from them."""
