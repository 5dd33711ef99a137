"""Ingestion over HTTP: single messages, file uploads and dead letters."""
