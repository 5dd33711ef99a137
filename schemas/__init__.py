"""The wire contract: commands, events and messages, their encoding, and the topics."""
