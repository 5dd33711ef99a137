"""Words: commands, events and messages; bytes to words and back; topics."""
