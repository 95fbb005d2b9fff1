// Holds Socket.IO clients of server.js for a test that is written in another language.
//
//     node client.js PORT
//
// One command a line on stdin, one JSON object a line on stdout for each, in order:
//
//     open [n]     opens n clients (1), answers when all are connected   {"open":3}
//     close [n]    closes the n oldest (1), answers when they are closed {"open":2}
//     values       what each client, oldest first, heard last            {"values":["3","3"]}
//
// A value is the message's own text, null where a client has heard none yet. A command that cannot be done
// is answered by {"error":"…"} and the program goes on; the end of stdin closes everything and ends it.

import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const DEADLINE = 10_000; // milliseconds for a client to connect
const address = `http://127.0.0.1:${process.argv[2]}`;
const clients = [];

function open() {
  const socket = io(address, { transports: ["websocket"], forceNew: true, reconnection: false });
  const client = { socket, last: null };
  socket.on("users:count", (value) => (client.last = value));
  return new Promise((resolve, reject) => {
    const fail = (reason) => {
      clearTimeout(late);
      socket.disconnect();
      reject(new Error(`${address}: ${reason}`));
    };
    const late = setTimeout(fail, DEADLINE, "no answer in time");
    socket.on("connect_error", (error) => fail(error.message));
    socket.on("connect", () => {
      clearTimeout(late);
      clients.push(client);
      resolve();
    });
  });
}

const commands = {
  async open(n) {
    await Promise.all(Array.from({ length: n }, open));
    return { open: clients.length };
  },
  async close(n) {
    for (const { socket } of clients.splice(0, n)) socket.disconnect();
    return { open: clients.length };
  },
  async values() {
    return { values: clients.map(({ last }) => last) };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, n = "1"] = line.trim().split(/\s+/);
  let answer;
  try {
    if (!Object.hasOwn(commands, name)) throw new Error(`no such command: ${name}`);
    answer = await commands[name](Number(n));
  } catch (error) {
    answer = { error: error.message };
  }
  console.log(JSON.stringify(answer));
}
for (const { socket } of clients) socket.disconnect();
