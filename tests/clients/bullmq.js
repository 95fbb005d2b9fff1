// A queue as an application would have it, through bullmq. Argument: the URL of the store. What it prints
// must not depend on which store that is.

import { FlowProducer, Queue, QueueEvents, Worker } from 'bullmq'

const { hostname: host, port } = new URL(process.argv[2])
const connection = { host, port: Number(port), maxRetriesPerRequest: null }

const queue = new Queue('letters', { connection })
const events = new QueueEvents('letters', { connection })
await events.waitUntilReady()
const seen = { completed: [], failed: [], progress: [], delayed: 0, added: 0 }
events.on('completed', ({ returnvalue }) => seen.completed.push(returnvalue))
events.on('failed', ({ failedReason }) => seen.failed.push(failedReason))
events.on('progress', ({ data }) => seen.progress.push(data))
events.on('delayed', () => seen.delayed++)
events.on('added', () => seen.added++)

const attempts = new Map()
const worker = new Worker(
  'letters',
  async (job) => {
    attempts.set(job.name, (attempts.get(job.name) ?? 0) + 1)
    if (job.name === 'fails') throw new Error('it was to fail')
    if (job.name === 'recovers' && attempts.get(job.name) < 3) throw new Error('not yet')
    await job.updateProgress(50)
    await job.log('half way')
    return `${job.name} ${job.data.text}`
  },
  { connection, concurrency: 4 },
)
await worker.waitUntilReady()

const one = await queue.add('plain', { text: 'a' })
const many = await queue.addBulk(Array.from({ length: 20 }, (_, n) => ({ name: 'bulk', data: { text: `${n}` } })))
const late = await queue.add('late', { text: 'b' }, { delay: 50, priority: 3 })
const failing = await queue.add('fails', {}, { attempts: 2, backoff: 10 })
const recovering = await queue.add('recovers', { text: 'c' }, { attempts: 5, backoff: { type: 'exponential', delay: 5 } })
const done = [one, ...many, late, recovering].map((job) => job.waitUntilFinished(events, 60_000))
console.log((await Promise.all(done)).sort())
console.log(await failing.waitUntilFinished(events, 60_000).catch((error) => error.message))
console.log(await queue.getJobCounts('completed', 'failed', 'delayed', 'waiting', 'active', 'prioritized'))
console.log((await queue.getJobLogs(one.id)).logs, (await queue.getJob(one.id)).returnvalue)

const flow = new FlowProducer({ connection })
const tree = await flow.add({
  name: 'parent',
  queueName: 'letters',
  data: { text: 'of two' },
  children: [1, 2].map((n) => ({ name: 'child', queueName: 'letters', data: { text: `${n}` } })),
})
console.log(await tree.job.waitUntilFinished(events, 60_000))
console.log(Object.values(await tree.job.getChildrenValues()).sort())

await queue.pause()
await queue.add('waits', { text: 'd' })
console.log(await queue.isPaused(), await queue.getWaitingCount(), (await queue.getJobCounts('paused')).paused)
const resumed = new Promise((resolve) => worker.on('completed', (job) => job.name === 'waits' && resolve(job.returnvalue)))
await queue.resume()
console.log(await resumed)

await queue.upsertJobScheduler('tick', { every: 20 }, { name: 'tick', data: { text: 'e' } })
await new Promise((resolve) => {
  let ticks = 0
  worker.on('completed', (job) => job.name === 'tick' && ++ticks === 3 && resolve())
})
console.log(await queue.removeJobScheduler('tick'), (await queue.getJobSchedulers()).length)
console.log(seen.failed, new Set(seen.completed).has('plain a'), seen.progress.length > 20, seen.delayed > 0, seen.added > 20)
console.log(await queue.trimEvents(5) >= 0, (await queue.clean(0, 1000, 'completed')).length > 20)
await worker.close()
await events.close()
await queue.obliterate({ force: true })
await Promise.all([queue.close(), flow.close()])
process.exit(0)
