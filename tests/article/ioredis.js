// A short talk with a store through ioredis, as an application would have it. Argument: the URL.
// Ends with 0 and one line if everything is as ioredis expects it.

import assert from 'node:assert/strict'
import { Redis } from 'ioredis'

const url = process.argv[2]
const redis = new Redis(url)
const subscriber = new Redis(url)

assert.equal(await redis.set('io:text', 'value', 'EX', 100), 'OK')
assert.equal(await redis.get('io:text'), 'value')
assert.deepEqual(await redis.multi().incr('io:n').incr('io:n').exec(), [[null, 1], [null, 2]])
await redis.zadd('io:z', 2, 'b', 1, 'a')
assert.deepEqual(await redis.zrange('io:z', 0, -1, 'WITHSCORES'), ['a', '1', 'b', '2'])
await redis.hset('io:h', { f: 'v', g: 'w' })
assert.deepEqual(await redis.hgetall('io:h'), { f: 'v', g: 'w' })
redis.defineCommand('twice', { numberOfKeys: 1, lua: "return redis.call('GET', KEYS[1]) * 2" })
assert.equal(await redis.twice('io:n'), 4)
assert.equal(await redis.twice('io:n'), 4)
await assert.rejects(redis.incr('io:text'), /ERR value is not an integer or out of range/)

const keys = []
for await (const some of redis.scanStream({ match: 'io:*' })) keys.push(...some)
assert.deepEqual(keys.sort(), ['io:h', 'io:n', 'io:text', 'io:z'])

const message = new Promise((resolve) => subscriber.on('message', (...args) => resolve(args)))
assert.equal(await subscriber.subscribe('io:news'), 1)
assert.equal(await redis.publish('io:news', 'hello'), 1)
assert.deepEqual(await message, ['io:news', 'hello'])

const waiting = subscriber.duplicate()
const popped = waiting.blpop('io:list', 5)
await redis.rpush('io:list', 'x')
assert.deepEqual(await popped, ['io:list', 'x'])
await Promise.all([redis, subscriber, waiting].map((client) => client.quit()))
console.log('ioredis is content')
