"""The Kafka kit: consumers, producers, transactions, topics. Knows no jobs and no messages."""
