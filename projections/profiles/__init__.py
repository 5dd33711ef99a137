"""Identity and merge."""
