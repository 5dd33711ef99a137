"""How messages that are sent to the API come onto their topics. Knows no HTTP."""
