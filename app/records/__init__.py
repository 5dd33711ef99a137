"""From records to words and back, for every reader and writer alike."""
