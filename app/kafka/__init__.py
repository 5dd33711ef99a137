"""Kafka clients: consumers, producers, transactions, topics. Independent of jobs and messages."""
