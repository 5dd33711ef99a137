"""Fixes of aiokafka. Every role applies them to its process before it starts."""


def apply_all() -> None:
    """Apply all fixes. Applying them again changes nothing."""
    from app.kafka.patches import bootstrap, decompression, fenced, uvloop  # noqa: PLC0415  # other processes do not load aiokafka for it

    uvloop.apply()
    bootstrap.apply()
    decompression.apply()
    fenced.apply()
