"""Commands about streams, mappings, lanes and profiles."""
