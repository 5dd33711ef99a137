"""Lanes and backfill over HTTP."""
