"""Faust with a commit path that loses no records (docs/decisions/001). Independent of commands, events and jobs.

`app` creates an app, `worker` runs it, `batching` feeds agents, `publishing` sends records and awaits acks,
`table` stores state. An agent looks like this:

    app = make_worker_app("entrepot.control", cluster, instance_id="control-0", data_dir=path, partitions=4)
    table = make_table(app, "jobs")

    async def decide(stream):
        async for batch in batches(stream):
            records, changes = process(batch, table.state)
            await publish(app, records)      # durable when this returns
            await table.write(changes)       # in memory at once; the commit waits for the broker's ack
            ack(batch)                       # only now may the offsets be committed

    app.agent(app.topic("jobs.commands"))(decide)
    exit_code = await run_worker(app)
"""
