"""Encoding of records: Avro in the Confluent wire format."""
