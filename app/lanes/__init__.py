"""The `lane` roles, real time and backfill: from raw messages to what they say about identities.

`role` owns partitions and reads them, `raw` opens one record, `chunk` maps some of them by the rules in `rule_book`.
"""
