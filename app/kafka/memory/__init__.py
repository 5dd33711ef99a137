"""A Kafka cluster in memory: the twin of `app.kafka.clients.KafkaCluster`, for tests that need no broker.

It gives the guarantees of the port: order, offsets, transactions and their markers, groups with static members. The
contract tests in `tests/kafka_contract` run against both. It has no network, so tests switch outages on and off.
"""
