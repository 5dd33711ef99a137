"""The life of definitions and rebuilds, and the rules they add up to."""
