"""How bytes become records, one file per format. Reads nothing by itself."""
