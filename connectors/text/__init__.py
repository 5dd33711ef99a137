"""Text files to batches: unpack, transcode, cut, date."""
