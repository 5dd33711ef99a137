"""Encode and decode the records of each topic, alike for every reader and writer."""
