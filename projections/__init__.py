"""The pure domain logic: functions from commands to events, and from events to views."""
