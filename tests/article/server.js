// The other program on the same Redis: a live user count as an article would write it, with nothing in it
// that knows of headcount. Each browser that connects is an INCR and a PUBLISH, each that leaves a DECR and
// a PUBLISH, and every message on the channel goes to every browser.
//
//     node server.js [PORT [REDIS_URL]]     or by the environment: PORT, REDIS_URL
//
// Port 0 takes a free one. Prints one line, its port, once it serves. It is naive on purpose (two steps, no
// lease, a crash leaves its count behind): that is the neighbour the tests are about.

import { createServer } from "node:http";
import { createClient } from "redis";
import { Server } from "socket.io";

const CHANNEL = "users:count";
const port = Number(process.argv[2] ?? process.env.PORT ?? 3000);
const url = process.argv[3] ?? process.env.REDIS_URL ?? "redis://127.0.0.1:6379";

const redis = createClient({ url });
const subscriber = redis.duplicate();
for (const client of [redis, subscriber]) {
  client.on("error", (error) => console.error(error.message));
  await client.connect();
}

const http = createServer();
const io = new Server(http, { serveClient: false });

io.on("connection", async (socket) => {
  socket.on("disconnect", async () => {
    await redis.publish(CHANNEL, String(await redis.decr(CHANNEL)));
  });
  await redis.publish(CHANNEL, String(await redis.incr(CHANNEL)));
});

await redis.setNX(CHANNEL, "0");
await subscriber.subscribe(CHANNEL, (message) => io.emit(CHANNEL, message));

http.listen(port, "0.0.0.0", () => console.log(http.address().port));
