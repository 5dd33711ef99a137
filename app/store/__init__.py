"""The read store in SQLite or PostgreSQL: views of jobs, rebuilt from events on demand, and state of the data plane."""
