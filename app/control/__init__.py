"""The `control` role: commands to events, events to views."""
