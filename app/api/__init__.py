"""The `api` role: HTTP over commands and read models. Makes no decisions about jobs; owns only tokens."""
