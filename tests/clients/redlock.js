// Locks that several processes share, through redlock. Argument: the URL of the store. What it prints must not
// depend on which store that is.

import { Redis } from 'ioredis'
import Redlock from 'redlock'

const [ann, bob] = [1, 2].map(() => new Redis(process.argv[2]))
const patient = new Redlock([ann], { retryCount: 200, retryDelay: 10, retryJitter: 5 })
const hasty = new Redlock([bob], { retryCount: 0 })

const lock = await patient.lock('door', 60_000)
console.log(await hasty.lock('door', 100).catch((error) => error.name), (await ann.pttl('door')) > 50_000)
await lock.extend(600_000)
console.log((await bob.pttl('door')) > 500_000)
await lock.unlock()
console.log(await ann.exists('door'), await lock.unlock().catch((error) => error.name))
console.log(await lock.extend(1_000).catch((error) => error.name))

// Several at once, all or none.
const both = await patient.lock(['red', 'blue'], 5_000)
console.log(await hasty.lock(['blue', 'green'], 100).catch((error) => error.name), await bob.exists('green'))
await both.unlock()
console.log(await ann.exists('red', 'blue'))

// One after the other, whoever asks.
let inside = 0
let most = 0
let total = 0
const workers = Array.from({ length: 8 }, async (_, n) => {
  const own = new Redlock([n % 2 ? ann : bob], { retryCount: 1_000, retryDelay: 2, retryJitter: 3 })
  for (let turn = 0; turn < 5; turn++) {
    const held = await own.lock('counter', 10_000)
    most = Math.max(most, ++inside)
    const before = Number(await ann.get('total'))
    await new Promise((resolve) => setTimeout(resolve, 1))
    await bob.set('total', before + 1)
    inside--
    await held.unlock()
  }
})
await Promise.all(workers)
total = await ann.get('total')
console.log(most, total)

// What is not given back ends by itself.
await patient.lock('short', 30)
console.log(typeof (await patient.lock('short', 1_000)).value)
await Promise.all([ann.quit(), bob.quit()])
