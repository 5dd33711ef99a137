"""The `profiles` role: applies updates to the profiles of its partitions, and answers look-ups."""
