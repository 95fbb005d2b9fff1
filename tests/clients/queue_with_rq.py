"""Jobs as an application would have them, through rq. Argument: the port of the store. What it prints must
not depend on which store that is."""

import sys
from datetime import timedelta

from redis import Redis
from rq import Callback, Queue, Retry, SimpleWorker
from rq.job import Job
from rq.registry import FailedJobRegistry, FinishedJobRegistry

redis = Redis(port=int(sys.argv[1]))


def add(one, other):
    return one + other


def fail():
    raise ValueError("it was to fail")


def note(job, connection, result, *args, **kwargs):
    connection.rpush("noted", f"{job.meta.get('name')} {result}")


if __name__ == "__main__":
    # The worker finds the functions in this module by its name.
    import queue_with_rq as jobs

    urgent, usual = Queue("urgent", connection=redis), Queue("usual", connection=redis)
    sums = [usual.enqueue(jobs.add, n, 1, meta={"name": n}, on_success=Callback(jobs.note)) for n in range(5)]
    first = urgent.enqueue(jobs.add, 100, 1, at_front=True)
    after = usual.enqueue(jobs.add, 7, 7, depends_on=[sums[0], first])
    failing = usual.enqueue(jobs.fail, retry=Retry(max=2))
    later = usual.enqueue_in(timedelta(hours=1), jobs.add, 1, 1)
    print(len(usual), len(urgent), usual.scheduled_job_registry.count, usual.deferred_job_registry.count)
    worker = SimpleWorker([urgent, usual], connection=redis)
    print(worker.work(burst=True, logging_level="CRITICAL"))
    print([job.return_value() for job in [*sums, first, after]])
    print([job.get_status(refresh=True).value for job in [sums[0], after, failing, later]])
    result = failing.latest_result()
    print(result.type.name, result.exc_string.splitlines()[-1], len(failing.results()))
    print(redis.type(f"rq:results:{first.id}"), redis.lrange("noted", 0, -1))
    print(FinishedJobRegistry(queue=usual).count, FailedJobRegistry(queue=usual).count)
    print(FailedJobRegistry(queue=usual).requeue(failing.id).get_status(refresh=True).value, len(usual))
    usual.empty()
    later.cancel()
    print(len(usual), Job.fetch(later.id, connection=redis).get_status().value)
    print([job.delete() for job in sums], Job.exists(sums[0].id, connection=redis))
