"""The views of jobs: written from events, queried, rebuilt."""
