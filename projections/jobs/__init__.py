"""A job's life: decide, evolve, and what is checked."""
