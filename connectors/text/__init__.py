"""Convert text files to batches: decompress, transcode, split, timestamp."""
