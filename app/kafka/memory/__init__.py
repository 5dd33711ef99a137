"""A Kafka cluster in memory: the twin of `app.kafka.clients.KafkaCluster`, for tests that need no broker.

It keeps what the port promises: order, offsets, transactions and their markers, consumer groups with static members.
The contract tests in `tests/kafka_contract` run against both. It has no network, so outages are switched by the test.
"""
