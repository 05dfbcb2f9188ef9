"""Queue, leases and live state on Redis: everything here can be lost and is rebuilt from the object store.

How a worker process is wired (its composition root)::

    redis = connect(redis_settings)                      # app.py
    app = make_app(redis_settings)                       # app.py
    keys = Keys(redis_settings.namespace)                # keys.py
    clock = RedisClock(redis)                            # clock.py
    board = Board(redis, keys, clock)                    # board.py
    flags = FlagBook(redis, keys, store)                 # flags.py
    dispatch = Dispatcher(app, board)                    # dispatch.py
    draining = Draining(grace_seconds)                   # draining.py
    leases = LeaseBook(redis, keys, worker=worker_id, settings=LeaseSettings())   # lease.py
    presence = Presence(redis, keys, WorkerInfo(...))    # presence.py
    runner = UnitRunner(store=store, board=board, flags=flags, leases=leases, faults=faults, draining=draining,
                        presence=presence)               # unit.py

    @app.task(name=RENDER_TASK)
    def render_unit(message: dict[str, object]) -> None:
        runner.run(UnitTask.model_validate(message), work)

    presence.start()
    sys.exit(run_worker(app, queues=worker_queues, pool="solo", concurrency=1, draining=draining, name=worker_id))

``work(spec, task, lease)`` calls ``lease.progress()`` after each piece of work, which polls nothing and costs
nothing, and ``lease.check()`` each batch, which raises when the unit must be let go. It returns None when the unit's
stage is done and committed, or a ``Finishing`` (finishing.py) that is run beside the next unit; it raises
``UnitFault`` or ``EnvironmentFault`` when it knows the reason of a failure.
"""
