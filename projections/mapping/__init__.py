"""From a message to what it says of a person."""
