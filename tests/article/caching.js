// node-redis with its client-side cache: what it has read it does not ask for again, until it changes.
// Argument: the URL. Ends with 0 and one line if everything is as node-redis expects it.

import assert from 'node:assert/strict'
import { BasicClientSideCache, createClient } from 'redis'

const url = process.argv[2]
const cache = new BasicClientSideCache({ maxEntries: 100 })
const reader = createClient({ url, RESP: 3, clientSideCache: cache })
const writer = createClient({ url })
await Promise.all([reader.connect(), writer.connect()])

// Until the news has come, what is cached may be read; then never again.
async function becomes(expected, read) {
  const end = Date.now() + 10_000
  for (;;) {
    const value = await read()
    try {
      return assert.deepEqual(value, expected)
    } catch (error) {
      if (Date.now() > end) throw error
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }
}

await writer.set('nr:text', 'one')
assert.equal(await reader.get('nr:text'), 'one')
const { hitCount } = cache.stats()
assert.equal(await reader.get('nr:text'), 'one')
assert.equal(cache.stats().hitCount, hitCount + 1)
await writer.set('nr:text', 'two')
await becomes('two', () => reader.get('nr:text'))
await reader.zRange('nr:z', 0, -1)
await writer.zAdd('nr:z', { score: 1, value: 'ann' })
await becomes(['ann'], () => reader.zRange('nr:z', 0, -1))
await writer.expire('nr:z', 0)
await becomes([], () => reader.zRange('nr:z', 0, -1))
await writer.flushAll()
await becomes(null, () => reader.get('nr:text'))
await Promise.all([reader, writer].map((client) => client.close()))
console.log('node-redis is content')
