"""Encode and decode the records of each topic, the same way for every reader and writer."""
