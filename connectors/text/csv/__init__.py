"""The CSV format: dialect, header, rows."""
