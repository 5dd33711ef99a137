"""Commands about rebuilds."""
