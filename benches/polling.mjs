// What people build today to show a board: a small HTTP endpoint that asks Redis for each request.
// node polling.mjs REDIS_URL, from a folder that has the package `redis`; prints its port.
import http from "node:http";
import { createRequire } from "node:module";

const { createClient } = createRequire(`${process.cwd()}/`)("redis");
const store = createClient({ url: process.argv[2] });
await store.connect();

const server = http.createServer(async (request, response) => {
  const key = decodeURIComponent(request.url.slice(1));
  const [board, size] = await Promise.all([store.zRangeWithScores(key, 0, 9, { REV: true }), store.zCard(key)]);
  const body = JSON.stringify({ board: board.map(({ value, score }) => [value, score]), size });
  response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.end(body);
});
// Whoever polls is never hung up on, however far behind this is.
server.keepAliveTimeout = 0;
server.requestTimeout = 0;
server.headersTimeout = 0;
server.listen(0, "127.0.0.1", 16_384, () => console.log(server.address().port));
