"""The profiles: their state by partition, its snapshots."""
