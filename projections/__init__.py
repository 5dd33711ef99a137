"""Thinking: pure functions from commands to events, and from events to what is shown."""
