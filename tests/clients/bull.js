// A queue as an application would have it, through bull. Argument: the URL of the store. What it prints must
// not depend on which store that is.

import Queue from 'bull'

const url = process.argv[2]
const queue = new Queue('mails', url)
const seen = { completed: 0, failed: 0, progress: 0, waiting: 0 }
for (const event of Object.keys(seen)) queue.on(`global:${event}`, () => seen[event]++)
queue.setMaxListeners(100)
await queue.isReady()

const attempts = new Map()
const order = []
queue.process('send', 3, async (job) => {
  order.push(job.data.text)
  attempts.set(job.id, (attempts.get(job.id) ?? 0) + 1)
  if (job.data.text === 'never') throw new Error('it was to fail')
  if (job.data.text === 'third time' && attempts.get(job.id) < 3) throw new Error('not yet')
  await job.progress(42)
  await job.log('half way')
  return `sent ${job.data.text}`
})

const one = await queue.add('send', { text: 'one' })
const many = await queue.addBulk(Array.from({ length: 10 }, (_, n) => ({ name: 'send', data: { text: `bulk ${n}` } })))
const late = await queue.add('send', { text: 'late' }, { delay: 50 })
const urgent = await queue.add('send', { text: 'urgent' }, { priority: 1, lifo: false })
const failing = await queue.add('send', { text: 'never' }, { attempts: 2, backoff: 5 })
const recovering = await queue.add('send', { text: 'third time' }, { attempts: 5, backoff: { type: 'exponential', delay: 5 } })
console.log((await Promise.all([one, ...many, late, urgent, recovering].map((job) => job.finished()))).sort())
console.log(await failing.finished().catch((error) => error.message))
console.log(attempts.get(failing.id), attempts.get(recovering.id))
console.log(await queue.getJobCounts())
console.log((await queue.getJobLogs(one.id)).logs, (await queue.getJob(one.id)).progress(), await one.getState())

// The same id is the same job.
const [first, again] = [await queue.add('send', { text: 'x' }, { jobId: 'mine' }), await queue.add('send', { text: 'y' }, { jobId: 'mine' })]
await first.finished()
console.log((await queue.getJob('mine')).data, again.id)

await queue.pause()
const paused = await queue.add('send', { text: 'paused' })
console.log(await queue.isPaused(), await queue.getPausedCount(), await paused.getState())
await queue.resume()
console.log(await paused.finished())

// Jobs that come again and again.
let ticks = 0
const ticked = new Promise((resolve) => queue.process('tick', async () => ++ticks === 3 && resolve()))
await queue.add('tick', {}, { repeat: { every: 30 } })
await ticked
// A worker that is just taking one of them would add the next behind our back.
await queue.pause(true)
const [repeated] = await queue.getRepeatableJobs()
await queue.removeRepeatableByKey(repeated.key)
console.log(repeated.name, repeated.every, (await queue.getRepeatableJobs()).length)
await queue.resume(true)

// A queue that takes so many in a while only, and one that others watch.
const limited = new Queue('limited', url, { limiter: { max: 2, duration: 100 } })
limited.process(async (job) => job.data.n)
const numbers = await Promise.all([1, 2, 3, 4, 5].map((n) => limited.add({ n })))
console.log(await Promise.all(numbers.map((job) => job.finished())))
console.log((await queue.getWorkers()).length, (await limited.count()), seen.failed > 0, seen.completed > 10, seen.progress > 10)
console.log((await failing.moveToCompleted('late', true, true).catch((error) => error.message)).split(' ')[0])
await failing.retry()
console.log(await failing.finished().catch((error) => error.message), await failing.getState())
console.log((await queue.clean(0, 'completed')).length > 10, (await queue.clean(0, 'failed')).length)
await queue.obliterate({ force: true })
console.log(await queue.getJobCounts())
await Promise.all([queue.close(), limited.close()])
process.exit(0)
