"""The `lane` roles, real time and backfill: they map raw messages to updates of identities.

`role` owns partitions and reads them, `chunk` maps some records by the rules, `field_sampler` samples their fields.
"""
