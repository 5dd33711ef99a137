"""The `runner` role: drives the connectors of the jobs it owns, exactly once from source to topic.

`role` wires it to Faust, `partition` keeps what is owned and compares it with what runs, `run` drives one job,
`commits` writes in transactions, `packing` makes records, `alarms` knows when the clock has to look at a job.
"""
