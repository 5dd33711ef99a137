"""What connectors share: fetching, files, threads."""
