"""The read store: what people see of jobs, in SQLite or PostgreSQL, filled from events and able to be filled anew."""
