// Drives assets/link.js with a WebSocket, a clock and a window that the test controls.
//
// Arguments: the script, and the server's close codes as JSON: [[code, reconnect], …].

import assert from "node:assert/strict";
import events from "node:events";
import { readFile } from "node:fs/promises";
import { dirname, join as path } from "node:path";

const [script, codes] = process.argv.slice(2);

let now = 0;
const timers = new Map();
let lastTimer = 0;
Date.now = () => now;
globalThis.setTimeout = (run, delay) => (timers.set(++lastTimer, { at: now + delay, run }), lastTimer);
globalThis.clearTimeout = (timer) => timers.delete(timer);

const windowEvents = new EventTarget();
events.setMaxListeners(0, windowEvents);
globalThis.addEventListener = windowEvents.addEventListener.bind(windowEvents);

const sockets = [];
globalThis.WebSocket = class {
  static OPEN = 1;
  readyState = 0;
  sent = [];
  constructor(address) {
    this.address = String(address);
    sockets.push(this);
  }
  send(frame) {
    this.sent.push(JSON.parse(frame));
  }
  close() {}
  opens() {
    this.readyState = 1;
    this.onopen();
  }
  hears(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }
  closes(code, reason = "") {
    this.readyState = 3;
    this.onclose({ code, reason });
  }
};

const { Link } = await import(await module(script));

// A script with those that it imports, as one address: node takes a file for a module only by its ending.
async function module(file) {
  let source = await readFile(file, "utf8");
  for (const [whole, name] of source.matchAll(/ from "\.\/([\w-]+\.js)"/g)) {
    source = source.replace(whole, ` from "${await module(path(dirname(file), name))}"`);
  }
  return `data:text/javascript,${encodeURIComponent(source)}`;
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

async function pass(ms) {
  const end = now + ms;
  for (;;) {
    const next = [...timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
    if (!next) break;
    timers.delete(next[0]);
    now = Math.max(now, next[1].at);
    next[1].run();
    await turn();
  }
  now = end;
}

async function join() {
  timers.clear();
  sockets.length = 0;
  globalThis.document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  const heard = [];
  const link = new Link("ws://server/ws");
  const emit = (type, detail) => heard.push({ type, ...detail });
  link.update({ wants: new Map([["a", "subscribe"]]), members: new Map(), emit });
  await turn();
  return { link, heard, socket: () => sockets.at(-1) };
}

// It comes back after the codes after which the server says so, and after no others.
for (const [code, reconnect] of JSON.parse(codes)) {
  const { link, socket } = await join();
  socket().opens();
  socket().closes(code);
  assert.equal(link.state.name, reconnect ? "waiting" : "closed", `after ${code}`);
  await pass(120_000);
  assert.equal(sockets.length > 1, reconnect, `after ${code}`);
}

// A server that turns it away gets more and more rest, up to a minute.
{
  const { link, socket } = await join();
  for (let failures = 0; failures < 12; failures++) {
    const before = sockets.length;
    socket().closes(1006);
    const ceiling = Math.min(60_000, 1_000 * 2 ** failures);
    const delay = link.state.retryAt - now;
    assert.ok(delay >= ceiling / 10 && delay <= ceiling, `${delay} ms after ${failures} failures`);
    await pass(delay - 1);
    assert.equal(sockets.length, before);
    await pass(1);
    assert.equal(sockets.length, before + 1);
  }
  // A connection that lasts makes up for it.
  socket().opens();
  await pass(10_000);
  socket().closes(1006);
  assert.ok(link.state.retryAt - now <= 1_000);
}

// Switching tabs brings a try closer, but not closer than five seconds to the one before.
{
  const { link, socket } = await join();
  for (let failures = 0; failures < 10; failures++) {
    socket().closes(1006);
    await pass(link.state.retryAt - now);
  }
  socket().closes(1006);
  const before = sockets.length;
  const hint = () => document.dispatchEvent(new Event("visibilitychange"));
  const end = Math.min(now + 4_900, link.state.retryAt - 1);
  while (now < end) {
    hint();
    await pass(Math.min(100, end - now));
  }
  assert.equal(sockets.length, before);
  await pass(200);
  hint();
  await turn();
  assert.equal(sockets.length, before + 1);
}

// It makes the pause that a stopping server asks for, within reason.
for (const [asked, made] of [[640, 640], [9_999_999, 30_000]]) {
  const { link, socket } = await join();
  socket().opens();
  socket().closes(1012, `the server is stopping; connect again in ${asked} ms`);
  assert.equal(link.state.retryAt - now, made);
}

// Only what the server marks is a count.
{
  const { heard, socket } = await join();
  socket().opens();
  socket().hears({ subscribed: "a", data: 3 });
  socket().hears({ channel: "a", data: 5 });
  socket().hears({ channel: "a", data: 7, count: true });
  socket().hears({ channel: "a", data: "8", count: true });
  const counts = heard.filter(({ type }) => type === "count").map(({ count }) => count);
  assert.deepEqual(counts, [3, 7]);
  assert.deepEqual(heard.filter(({ type }) => type === "message").map(({ data }) => data), [5, 7, "8"]);
}

// A list of members is what it was told to be, and whoever goes may be followed by another of that name.
{
  const { heard, socket } = await join();
  socket().opens();
  const who = (...names) => names.map((id) => ({ id }));
  socket().hears({ subscribed: "a", data: 2, members: who("ann", "bob") });
  socket().hears({ channel: "a", joined: who("cid", "bob"), left: ["ann", "bob"] });
  socket().hears({ channel: "a", members: null });
  socket().hears({ channel: "a", members: who("dan") });
  socket().hears({ channel: "b", joined: who("eve") });
  const told = heard.filter(({ type }) => type === "members");
  const names = (members) => members && members.map(({ id }) => id).sort().join(" ");
  assert.deepEqual(
    told.map(({ members, joined, left }) => [names(members), names(joined), names(left)]),
    [["ann bob", "ann bob", ""], ["bob cid", "cid", "ann"], [null, "", ""], ["dan", "dan", ""]],
  );
}

// What came too fast to be joined is asked for again, not at once, and until it is joined.
{
  const { link, heard, socket } = await join();
  socket().opens();
  const refusal = { error: { code: "rate_limited", channel: "a", message: "" } };
  for (let refusals = 1; refusals < 4; refusals++) {
    socket().hears(refusal);
    await pass(2_900);
    assert.equal(socket().sent.length, refusals - 1);
    await pass(3_100);
    assert.deepEqual(socket().sent, Array(refusals).fill({ subscribe: ["a"] }));
  }
  socket().hears({ subscribed: "a", data: 3 });
  await pass(60_000);
  assert.equal(socket().sent.length, 3);
  assert.equal(heard.filter(({ type }) => type === "error").length, 3);
  assert.equal(link.known("a").count, 3);
}

// Whoever is on a channel leaves it, also where something else was refused there; whoever is not, does not.
for (const [error, leaves] of [
  [{ code: "forbidden", publish: true }, true],
  [{ code: "not_counted" }, true],
  [{ code: "board_too_large" }, true],
  [{ code: "forbidden" }, false],
  [{ code: "refused" }, false],
]) {
  const { link, socket } = await join();
  const listener = { wants: new Map([["b", "watch"]]), members: new Map(), emit() {} };
  link.update(listener);
  await turn();
  socket().opens();
  socket().hears({ watching: "b", data: 3 });
  socket().hears({ error: { ...error, channel: "b", message: "" } });
  link.remove(listener);
  await turn();
  const left = socket().sent.flatMap(({ unsubscribe = [] }) => unsubscribe);
  assert.deepEqual(left, leaves ? ["b"] : [], error.code);
}

// A board that is shown after all is not asked for again.
{
  const { link, socket } = await join();
  socket().opens();
  socket().hears({ error: { code: "rate_limited", channel: "a", message: "" } });
  socket().hears({ channel: "a", board: [["ann", 1]], size: 1 });
  await pass(60_000);
  assert.deepEqual([socket().sent, link.known("a").error], [[], undefined]);
}
