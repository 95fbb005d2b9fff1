// Two Socket.IO servers that speak through a stream, and a client that gets what it has missed. Argument:
// the URL of the store. What it prints must not depend on which store that is.

import { createServer } from 'node:http'
import { createAdapter } from '@socket.io/redis-streams-adapter'
import { Redis } from 'ioredis'
import { Server } from 'socket.io'
import { io } from 'socket.io-client'

const stores = []
async function start() {
  const store = new Redis(process.argv[2])
  stores.push(store)
  const http = createServer()
  const server = new Server(http, {
    adapter: createAdapter(store, { streamName: 'sockets', maxLen: 100 }),
    connectionStateRecovery: { maxDisconnectionDuration: 60_000 },
  })
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve))
  return { server, url: `http://127.0.0.1:${http.address().port}` }
}
const once = (emitter, event) => new Promise((resolve) => emitter.once(event, (...args) => resolve(args)))
const until = async (what) => {
  for (let left = 400; left > 0 && !(await what()); left--) await new Promise((resolve) => setTimeout(resolve, 25))
}

const [left, right] = [await start(), await start()]
for (const { server } of [left, right]) {
  server.on('connection', (socket) => {
    socket.join('room')
    socket.on('ask', (text, answer) => answer(`${text}!`))
  })
}
const [ann, bob] = [left, right].map(({ url }) => io(url, { transports: ['websocket'], reconnectionDelay: 50 }))
await Promise.all([once(ann, 'connect'), once(bob, 'connect')])
// The servers must have heard of each other.
await until(async () => (await left.server.fetchSockets()).length === 2)
await until(async () => (await right.server.fetchSockets()).length === 2)

let got = Promise.all([once(ann, 'news'), once(bob, 'news')])
left.server.to('room').emit('news', 'from the left', Buffer.from([0, 255]))
console.log((await got).map((args) => args.slice(0, 2)))
got = once(ann, 'news')
right.server.to('room').except(bob.id).emit('news', { text: 'from the right' })
console.log((await got)[0])

for (const client of [ann, bob]) client.on('question', (text, answer) => answer(`heard ${text}`))
console.log(await left.server.to('room').timeout(10_000).emitWithAck('question', 'a question'))
right.server.on('between', (text, answer) => answer(`answer to ${text}`))
console.log(await left.server.serverSideEmitWithAck('between', 'a server'))

left.server.in('room').socketsJoin('other')
await until(async () => (await right.server.in('other').fetchSockets()).length === 2)
console.log((await right.server.in('other').fetchSockets()).length)

// What a client misses it gets when it is back, in order, wherever it was said.
const missed = []
bob.on('missed', (number) => missed.push(number))
bob.io.engine.close()
await until(() => !bob.connected)
for (let number = 0; number < 5; number++) left.server.to('room').emit('missed', number)
if (!bob.connected) await once(bob, 'connect')
await until(() => missed.length === 5)
console.log(bob.recovered, missed)

right.server.in('room').disconnectSockets()
await until(() => !ann.connected && !bob.connected)
console.log(ann.connected, bob.connected)
console.log(await stores[0].type('sockets'))
process.exit(0)
