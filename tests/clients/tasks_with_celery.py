"""Tasks as an application would have them, through celery, with the store as broker and as the place of
results. Argument: the port of the store. What it prints must not depend on which store that is."""

import sys

from celery import Celery, chain, chord, group
from celery.contrib.testing.worker import start_worker
from celery.exceptions import TimeoutError

PORT = sys.argv[1] if len(sys.argv) > 1 else "0"
app = Celery("tasks", broker=f"redis://127.0.0.1:{PORT}/0", backend=f"redis://127.0.0.1:{PORT}/1")
app.conf.update(
    broker_transport_options={"visibility_timeout": 60, "priority_steps": [0, 5, 9]},
    broker_connection_retry_on_startup=True,
    result_extended=True,
    task_track_started=True,
    worker_hijack_root_logger=False,
)
tries = {}


@app.task
def add(one, other):
    return one + other


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fail():
    raise ValueError("it was to fail")


@app.task(bind=True, max_retries=5)
def flaky(self, name):
    tries[name] = tries.get(name, 0) + 1
    if tries[name] < 3:
        raise self.retry(countdown=0.01)
    return tries[name]


@app.task(ignore_result=True)
def forget():
    return "nobody hears of this"


def main():
    waiting = [add.delay(n, n) for n in range(3)]
    with app.connection() as connection:
        print(connection.default_channel.client.llen("celery"))
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="CRITICAL", concurrency=1):
        print([result.get(timeout=60) for result in waiting])
        print(chain(add.s(1, 2), add.s(10), add.s(100))().get(timeout=60))
        print(sorted(group(add.s(n, 1) for n in range(10))().get(timeout=60)))
        print(chord((add.s(n, n) for n in range(5)), total.s())().get(timeout=60))
        failing = fail.delay()
        print(repr(failing.get(timeout=60, propagate=False)), failing.state, failing.failed())
        print(flaky.delay("x").get(timeout=60), forget.delay().get(timeout=60))
        later = add.apply_async((5, 5), countdown=0.2)
        print(later.get(timeout=60), later.state, later.name.split(".")[-1], later.args)
        print([add.apply_async((n, 0), priority=n).get(timeout=60) for n in (9, 0, 5)])
        far = add.apply_async((1, 1), countdown=3600)
        try:
            far.get(timeout=0.2)
        except TimeoutError:
            print("not yet")
        far.revoke()
        control = app.control.inspect(timeout=5)
        print([sorted(answer) for answer in (control.ping() or {}).values()])
        group_of = group(add.s(n, n) for n in range(3))()
        group_of.get(timeout=60)
        group_of.save()
        restored = app.GroupResult.restore(group_of.id)
        print(sorted(restored.get(timeout=60)), restored.successful())
        waiting[0].forget()
        print(app.AsyncResult(waiting[0].id).state)
    print(app.control.purge() >= 0)


if __name__ == "__main__":
    # The worker finds the tasks in this module by its name.
    main()
