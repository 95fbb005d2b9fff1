// Two Socket.IO servers that speak through the store's channels, by plain ones and by shard channels. Argument:
// the URL of the store. What it prints must not depend on which store that is.

import { createServer } from 'node:http'
import { createAdapter, createShardedAdapter } from '@socket.io/redis-adapter'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { Server } from 'socket.io'
import { io } from 'socket.io-client'

const url = process.argv[2]
const once = (emitter, event) => new Promise((resolve) => emitter.once(event, (...args) => resolve(args)))
const until = async (what) => {
  for (let left = 400; left > 0 && !(await what()); left--) await new Promise((resolve) => setTimeout(resolve, 25))
}

async function plain() {
  const [publisher, subscriber] = [new Redis(url), new Redis(url)]
  return createAdapter(publisher, subscriber)
}

async function sharded(mode) {
  const publisher = createClient({ url })
  const subscriber = publisher.duplicate()
  await Promise.all([publisher.connect(), subscriber.connect()])
  return createShardedAdapter(publisher, subscriber, { subscriptionMode: mode })
}

async function start(adapter) {
  const http = createServer()
  const server = new Server(http, { adapter: await adapter() })
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve))
  server.on('connection', (socket) => {
    socket.join('room')
    socket.on('ask', (text, answer) => answer(`${text}!`))
  })
  return { server, url: `http://127.0.0.1:${http.address().port}` }
}

async function talk(adapter) {
  const [left, right] = [await start(adapter), await start(adapter)]
  const [ann, bob] = [left, right].map((node) => io(node.url, { transports: ['websocket'] }))
  await Promise.all([once(ann, 'connect'), once(bob, 'connect')])
  await until(async () => (await left.server.fetchSockets()).length === 2)
  await until(async () => (await right.server.fetchSockets()).length === 2)

  let got = Promise.all([once(ann, 'news'), once(bob, 'news')])
  left.server.to('room').emit('news', 'from the left', Buffer.from([0, 255]))
  console.log((await got).map((args) => args.slice(0, 2)))
  got = once(ann, 'news')
  right.server.to('room').except(bob.id).emit('news', { text: 'from the right' })
  console.log((await got)[0])
  got = once(bob, 'news')
  left.server.to(bob.id).emit('news', 'to one')
  console.log((await got)[0])

  for (const client of [ann, bob]) client.on('question', (text, answer) => answer(`heard ${text}`))
  console.log(await left.server.to('room').timeout(10_000).emitWithAck('question', 'a question'))
  right.server.on('between', (text, answer) => answer(`answer to ${text}`))
  console.log(await left.server.serverSideEmitWithAck('between', 'a server'))

  left.server.in('room').socketsJoin('other')
  await until(async () => (await right.server.in('other').fetchSockets()).length === 2)
  console.log((await right.server.in('other').fetchSockets()).length)
  right.server.in('other').socketsLeave('room')
  await until(async () => (await left.server.in('room').fetchSockets()).length === 0)
  console.log((await left.server.in('room').fetchSockets()).length)
  right.server.in('other').disconnectSockets()
  await until(() => !ann.connected && !bob.connected)
  console.log(ann.connected, bob.connected)
  await Promise.all([left.server.close(), right.server.close()])
}

await talk(plain)
await talk(() => sharded('static'))
await talk(() => sharded('dynamic'))
process.exit(0)
