"""The `runner` role: runs the connectors of its jobs, exactly once from source to topic.

`role` connects it to Faust, `partition` reconciles the jobs of a partition with their runs, `run` executes one run,
`slots` bound how many work at the same time, `source_reader` gives up on slow sources, `timers` schedules wake-ups,
`stalled_uploads` detects abandoned uploads.
"""
