"""Views of jobs and lanes."""
