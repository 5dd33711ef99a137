"""The `api` role: HTTP over commands and views. It decides nothing about jobs and keeps nothing but tokens."""
