"""The life of a job: what its commands are checked for, what they cause, and the state that follows."""
