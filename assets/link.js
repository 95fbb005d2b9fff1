// One WebSocket to one server, shared by everything on the page that listens to that server.
//
// In: listeners, each with a map of what it wants (channel -> "subscribe" or "watch"), one of the board
// members that it follows (channel -> member), and an `emit(type, detail)`. Out: state, count, board,
// place, members, message, gap and error events for the listeners concerned.
// It knows nothing of elements, pages or how a number is shown; what it opens with is in opening.js, and what
// frames say of a channel in channels.js.
//
// The rule: what to ask of the server is computed from what the listeners want now, once per turn of
// the event loop. Nothing is counted up and down, so nothing can drift, and moving an element about in
// the document costs no frame.

import { takeIn } from "./channels.js";
import { addressOf, delayAfter, offersOf, pauseIn, tokenOf } from "./opening.js";

// Every wait has a bound (milliseconds).
const OPEN_WAIT = 10_000; // a handshake that hangs is given up
const PROBE_WAIT = 5_000; // an open socket that does not answer a probe is dead
const STABLE = 10_000; // a connection that lasted this long resets the back-off
const LINGER = 5_000; // a socket that nobody needs is kept this long: the next view may want it

const PATIENCE = 5_000; // a hint that it is worth a try does not bring the next one closer than this
const AGAIN = 3_000; // what came too fast to be joined is asked for again after this, or up to twice this

// After these the same client would only be turned away again: a normal end, or our own fault. A test
// compares them with the server's table of close codes.
export const FINAL = new Set([1000, 1002, 1003, 1007, 1009, 4003, 4005]);

// What is said of a channel that is joined all the same.
const JOINED = new Set(["not_counted", "too_many_followed", "not_an_ordered_set", "board_too_large"]);

// Whether a channel was refused, so that it is not joined.
const isOff = ({ error }) => error !== undefined && !JOINED.has(error.code);

export class Link {
  #url;
  #visitor;
  #listeners = new Set();
  #channels = new Map(); // channel -> { asked: mode sent, member: whom it was asked to follow; count, board,
  // place, members: the last ones; error: its refusal }
  #state = { name: "connecting" };
  #socket = null;
  #everOpen = false;
  #tokens = null; // returns a token, or a promise of one
  #failures = 0; // tries since the last stable connection
  #triedAt = -Infinity;
  #dirty = false;
  // One timer each for: the next try, the handshake, the probe, a stable connection, an idle socket, and what came
  // too fast.
  #timers = { retry: 0, open: 0, probe: 0, stable: 0, idle: 0, again: 0 };

  /**
   * `url` is the address of the server's `/ws`, `visitor` the id that this browser has there. Nothing is
   * opened before somebody wants a channel.
   */
  constructor(url, visitor) {
    this.#url = url;
    this.#visitor = visitor;
    // Signs that the network is back or that somebody is looking again: worth a try or a probe.
    addEventListener("online", () => this.#hint());
    addEventListener("pageshow", (event) => event.persisted && this.#hint());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#hint();
    });
    // A page that is kept for the back button holds no socket, because its reader has left. A page that
    // is merely hidden keeps it, because its reader has not.
    addEventListener("pagehide", (event) => {
      if (!event.persisted) return;
      this.#drop(1000);
      this.#become({ name: "connecting" });
    });
  }

  /** `{ name, retryAt?, code?, reason? }`; names: connecting, live, degraded, waiting, closed. */
  get state() {
    return this.#state;
  }

  /** Call after a listener was added or what it wants changed. */
  update(listener) {
    this.#listeners.add(listener);
    this.#schedule();
  }

  remove(listener) {
    this.#listeners.delete(listener);
    this.#schedule();
  }

  /** Shows the server a token of this source before each connection, when one has ended, and now if it is open. */
  authorize(tokens) {
    this.#tokens = tokens;
    if (this.#socket) this.#renew();
  }

  /** Publishes JSON on a channel. Returns whether it was sent; what the server refuses comes as an error. */
  publish(channel, data) {
    const open = this.#socket?.readyState === WebSocket.OPEN;
    if (open) this.#send({ publish: { channel, data } });
    return open;
  }

  /** What is known of a channel already, for a listener that comes late. */
  known(channel) {
    return this.#channels.get(channel) ?? {};
  }

  #schedule() {
    if (this.#dirty) return;
    this.#dirty = true;
    queueMicrotask(() => {
      this.#dirty = false;
      this.#settle();
    });
  }

  // Brings the socket in line with what is wanted.
  #settle() {
    const wanted = this.#wanted();
    this.#idle(wanted.size === 0);
    if (this.#socket) {
      // Until it is open, it joins the channels in its address; what changed since is settled then.
      if (this.#socket.readyState !== WebSocket.OPEN) return;
      this.#leave(wanted);
      this.#join(wanted);
      this.#follow();
    } else if (wanted.size > 0 && !this.#timers.retry && !this.#timers.open && this.#state.name !== "closed") {
      if (this.#tokens) this.#fetchAndOpen();
      else this.#open(wanted);
    }
  }

  // A token that cannot be had is a failed try like any other.
  #fetchAndOpen() {
    this.#become({ name: "connecting" });
    this.#triedAt = Date.now();
    this.#timer("open", OPEN_WAIT, () => this.#lost());
    const waiting = this.#timers.open;
    const goOn = (next) => (value) => {
      // Somebody else's turn: it took too long, or nobody wants a channel any more.
      if (this.#timers.open !== waiting || this.#socket) return;
      this.#timer("open");
      next(value);
    };
    tokenOf(this.#tokens).then(
      goOn((shown) => {
        const wanted = this.#wanted();
        if (wanted.size > 0) this.#open(wanted, shown);
      }),
      goOn(() => this.#retry({})),
    );
  }

  // Shows another token on the open connection. Without one, the server closes it when the old one has ended.
  #renew() {
    const socket = this.#socket;
    tokenOf(this.#tokens).then(
      (shown) => this.#socket === socket && this.#send({ token: shown }),
      () => {},
    );
  }

  #wanted() {
    const wanted = new Map();
    for (const { wants } of this.#listeners) {
      for (const [channel, mode] of wants) {
        // To be counted once is to be counted, whatever else on the page only watches.
        if (wanted.get(channel) !== "subscribe") wanted.set(channel, mode);
      }
    }
    return wanted;
  }

  #leave(wanted) {
    // A change of mode is a leave and a join, so that no server has to guess what the second one means.
    const left = [...this.#channels].filter(([channel, { asked }]) => wanted.get(channel) !== asked);
    for (const [channel] of left) this.#channels.delete(channel);
    const joined = left.filter(([, known]) => !isOff(known)).map(([channel]) => channel);
    if (joined.length > 0) this.#send({ unsubscribe: joined });
  }

  #join(wanted) {
    const frame = {};
    for (const [channel, mode] of wanted) {
      if (this.#channels.has(channel)) continue;
      this.#channels.set(channel, { asked: mode });
      (frame[mode] ??= []).push(channel);
    }
    if (frame.subscribe || frame.watch) this.#send(frame);
  }

  // On a board, the server follows one member for this page: the first that a listener names.
  #follow() {
    const members = new Map();
    for (const listener of this.#listeners) {
      for (const [channel, member] of listener.members) if (!members.has(channel)) members.set(channel, member);
    }
    for (const [channel, known] of this.#channels) {
      const member = members.get(channel);
      if (known.member === member) continue;
      known.member = member;
      known.place = undefined;
      this.#send(member === undefined ? { [known.asked]: [channel] } : { [known.asked]: [channel], member });
    }
  }

  #send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #open(wanted, shown) {
    const address = addressOf(this.#url, wanted, this.#everOpen);
    const before = this.#channels;
    this.#channels = new Map();
    for (const [channel, mode] of wanted) {
      // The last number stays known over a reconnect; a refusal is forgotten, the server may think anew.
      const { count, board, members } = before.get(channel) ?? {};
      this.#channels.set(channel, { asked: mode, count, board, members });
    }
    this.#become({ name: "connecting" });
    const socket = new WebSocket(address, offersOf(this.#visitor, shown));
    this.#socket = socket;
    this.#triedAt = Date.now();
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => this.#heard(data);
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    this.#timer("open", OPEN_WAIT, () => this.#lost());
  }

  #opened() {
    this.#timer("open");
    this.#timer("stable", STABLE, () => (this.#failures = 0));
    this.#everOpen = true;
    this.#become({ name: "live" });
    this.#settle();
  }

  #closed(code, reason) {
    this.#drop();
    if (FINAL.has(code)) this.#become({ name: "closed", code, reason });
    else this.#retry({ code, reason }, pauseIn(reason));
  }

  // Lets go of a socket that hangs. Its close event could take minutes to come, so nobody waits for it.
  #lost() {
    this.#drop();
    this.#retry({});
  }

  #drop(code) {
    for (const name of ["open", "probe", "stable", "again"]) this.#timer(name);
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(code);
  }

  // `pause`: what the server asked for, drawn there for each client. It is not a failure, so the ceiling stays.
  #retry(why, pause) {
    if (this.#wanted().size === 0) return this.#become({ name: "connecting" });
    const delay = pause ?? delayAfter(this.#failures++);
    this.#timer("retry", delay, () => this.#settle());
    this.#become({ name: "waiting", retryAt: Date.now() + delay, ...why });
  }

  #hint() {
    if (this.#socket) {
      if (this.#socket.readyState === WebSocket.OPEN) this.#probe();
      return;
    }
    // Switching tabs back and forth must not hammer a server that is full.
    if (this.#timers.retry && Date.now() - this.#triedAt < PATIENCE) return;
    this.#timer("retry");
    this.#settle();
  }

  // After a sleep or a change of network a socket may be dead and still look open. Joining a channel again
  // changes nothing and is answered, so an answer, or any other frame, shows that it lives.
  #probe() {
    const joined = [...this.#channels].find(([, known]) => !isOff(known));
    if (!joined || this.#timers.probe) return;
    const [channel, { asked }] = joined;
    this.#send({ [asked]: [channel] });
    this.#timer("probe", PROBE_WAIT, () => this.#lost());
  }

  #idle(idle) {
    if (!idle) return this.#timer("idle");
    this.#timer("retry");
    if (this.#timers.idle) return;
    this.#timer("idle", LINGER, () => {
      this.#drop(1000);
      this.#everOpen = false; // nobody is left who could have missed something
      if (this.#state.name !== "closed") this.#become({ name: "connecting" });
    });
  }

  // Sets the named timer, or only clears it where no `run` is given.
  #timer(name, delay, run) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = 0;
    if (!run) return;
    this.#timers[name] = setTimeout(() => {
      this.#timers[name] = 0;
      run();
    }, delay);
  }

  // What is not understood is passed over: a newer server may say more than this script knows.
  #heard(text) {
    this.#timer("probe");
    let frame = null;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (frame === null || typeof frame !== "object") return;
    if (frame.state === "live" || frame.state === "degraded") this.#become({ name: frame.state });
    takeIn(this.#channels, frame, (type, channel, detail) => this.#emit(type, channel, detail));
    if (frame.token === "accepted") this.#accepted();
    if (frame.error !== null && typeof frame.error === "object") this.#refused(frame.error);
  }

  // What was forbidden may be allowed now: it is asked for once more.
  #accepted() {
    this.#askAgain("forbidden", "token_expired");
  }

  // Asks once more for what was refused for one of these reasons.
  #askAgain(...codes) {
    for (const [channel, { error }] of this.#channels) {
      if (codes.includes(error?.code)) this.#channels.delete(channel);
    }
    this.#settle();
  }

  // `also`: further channels of the same message that were refused. `publish`: it was a message that was refused, and
  // no channel.
  #refused({ code, channel, message, publish, also }) {
    const error = publish ? { code, channel, message, publish } : { code, channel, message };
    if (code === "token_expired" && channel === undefined && this.#tokens) this.#renew();
    const known = this.#channels.get(channel);
    if (known && !publish) {
      known.error = error;
      if (code === "rate_limited" && !this.#timers.again) {
        this.#timer("again", AGAIN * (1 + Math.random()), () => this.#askAgain(code));
      }
    }
    this.#emit("error", known && channel, error);
    if (!Array.isArray(also)) return;
    for (const other of also) this.#refused({ message, ...other, also: undefined });
  }

  #become(state) {
    if (state.name === this.#state.name && !("retryAt" in state)) return;
    this.#state = state;
    this.#emit("state", undefined, state);
  }

  // Tells the listeners of that channel, or all of them where there is none. Over a copy: a listener may
  // add or remove one.
  #emit(type, channel, detail) {
    for (const listener of [...this.#listeners]) {
      if (channel === undefined || listener.wants.has(channel)) listener.emit(type, detail);
    }
  }
}
