"""Faust with a commit path that loses nothing (docs/decisions/001). Knows no command, no event and no job.

`app` makes an app, `worker` runs it, `batching` hands an agent its records, `publishing` writes and awaits acks,
`table` keeps state. What an agent looks like:

    app = make_app("entrepot.control", "127.0.0.1:9470", instance_id="control-0", data_dir=path, partitions=4)
    table = make_table(app, "jobs")

    async def decide(stream):
        async for batch in batches(stream):
            records, changes = think(batch, table.state)
            await publish(app, records)      # durable when this returns
            await table.write(changes)       # in memory at once; the commit waits for the broker's ack
            ack(batch)                       # only now may the offsets be committed

    app.agent(app.topic("jobs.commands"))(decide)
    exit_code = await run_worker(app)
"""
