"""The `profiles` role: keeps what messages say of every identity, and answers from it.

`role` owns partitions and reads for them, `partition` applies what was read, `store` and `snapshots` keep it, `serving`
answers look-ups, `nodes` holds what is in memory.
"""
