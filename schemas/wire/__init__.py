"""Words to bytes and back: Avro in the Confluent framing."""
