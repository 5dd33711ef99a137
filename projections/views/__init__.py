"""What people see of jobs and lanes."""
