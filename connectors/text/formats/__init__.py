"""Parsers that split text into records, one module per format. They do no I/O."""
