// The client script: include it in any page with
//
//     <script type="module" src="https://the.server/headcount.js"></script>
//
// and write <live-count channel="page:/pricing"></live-count> where the number of people should appear.
// Attributes: `channel` (default: the server's default channel), `watch` (show the number without being
// counted), `label` (what a screen reader says after the number). The element's `state` attribute
// (connecting, live, degraded, waiting, closed, refused) is there for the page's own style. Its `count`
// event says that `value` has changed.
//
// A script that wants more than a number imports `connect`:
//
//     import { connect } from "https://the.server/headcount.js";
//     const news = connect({ channels: ["public:news"] });
//     news.addEventListener("message", ({ detail }) => console.log(detail.channel, detail.data));
//
// Where channels need a token, the page says how to get one:
//
//     import { authorize } from "https://the.server/headcount.js";
//     authorize(() => fetch("/my/token").then((response) => response.text()));
//
// However many of either a page has, it opens one WebSocket per server, which link.js keeps. Where people are
// counted, all tabs of a browser are one person: see visitor.js, and `data-storage="none"` there.

import { DEFAULT_CHANNEL } from "./default.js";
import { showState } from "./element.js";
import { Link } from "./link.js";
import { visitor } from "./visitor.js";
import { Voice } from "./voice.js";

export { DEFAULT_CHANNEL };

// The server is the one that this script came from, at whatever path it is mounted there.
const HERE = new URL(".", import.meta.url).href;

// The same for as long as the page is open, so that whoever comes back after a fault is the same person.
const VISITOR = visitor(import.meta.url);

const links = new Map();

function linkTo(server) {
  const url = new URL("ws", server);
  url.protocol = /^(https|wss):$/.test(url.protocol) ? "wss:" : "ws:";
  if (!links.has(url.href)) links.set(url.href, new Link(url.href, VISITOR));
  return links.get(url.href);
}

/**
 * Joins channels of a server and returns a client that receives their messages.
 * `url` is the server's address (`https://the.server/`). `channels` are joined, and the client is counted
 * there; `watch` are only received. With neither, the default channel is joined.
 */
export function connect({ url = HERE, channels, watch = [] } = {}) {
  const client = new Headcount(url);
  for (const channel of watch) client.watch(channel);
  for (const channel of channels ?? (watch.length ? [] : [DEFAULT_CHANNEL])) client.subscribe(channel);
  return client;
}

/**
 * Shows the server a token. `tokens` is a function that returns one, or a promise of one: it is called before each
 * connection and when a token has ended. One that comes while the page is connected counts for what it joins from
 * then on, and what was forbidden is asked for again.
 */
export function authorize(tokens, { url = HERE } = {}) {
  linkTo(url).authorize(tokens);
}

/**
 * A client of a server. Its events, each with a `detail`:
 *
 * - `count` `{ channel, count }`: a whole number, on joining and at each change
 * - `board` `{ channel, board, size }`: the top of a sorted set as `[[member, score], …]`, and how many
 *   members it has in all, on joining and at each change
 * - `members` `{ channel, members, joined, left }`: who is here, `[{ id, info }, …]`, on joining and at each
 *   change, with those who came and went; null where there are too many to be shown
 * - `place` `{ channel, member, rank, score }`: where the followed member stands, from 0; null if absent
 * - `message` `{ channel, data, count }`: every message; `data` is JSON, a string or a Uint8Array;
 *   `count` says whether it is the channel's count
 * - `state` `{ name, retryAt?, code?, reason? }`: connecting, live, degraded (the server has lost its
 *   store, so numbers are the last known ones), waiting (until `retryAt`, in ms), closed (for good)
 * - `gap` `{ channel }`: messages of that channel may have been missed
 * - `error` `{ code, channel, message, publish }`: the server refused something; `publish` is true where that was a message
 */
export class Headcount extends EventTarget {
  #link;
  #listener = { wants: new Map(), members: new Map(), emit: (type, detail) => this.#emit(type, detail) };

  constructor(url = HERE) {
    super();
    this.#link = linkTo(url);
  }

  /** The last `state` detail. */
  get state() {
    return this.#link.state;
  }

  /** Joins a channel and is counted there. */
  subscribe(channel) {
    this.#want(channel, "subscribe");
  }

  /** Receives a channel without being counted there. On a board, one `member` can be followed. */
  watch(channel, { member } = {}) {
    if (member === undefined) this.#listener.members.delete(String(channel));
    else this.#listener.members.set(String(channel), String(member));
    this.#want(channel, "watch");
  }

  /**
   * Publishes `data`, as JSON, on a channel, where the token allows it. Returns whether it was sent: not while there is
   * no connection. What the server refuses comes as an `error`.
   */
  publish(channel, data) {
    return this.#link.publish(String(channel), data);
  }

  /** Leaves a channel, however it was joined. */
  unsubscribe(channel) {
    this.#listener.wants.delete(channel);
    this.#listener.members.delete(channel);
    this.#link.update(this.#listener);
  }

  /** Leaves everything; no event follows. The socket closes soon if nothing else on the page needs it. */
  close() {
    this.#listener.wants.clear();
    this.#link.remove(this.#listener);
  }

  #want(channel, mode) {
    this.#listener.wants.set(String(channel), mode);
    this.#link.update(this.#listener);
    // If the page has joined that channel already, the server sends no answer for this client.
    const { count, board, place, members, error } = this.#link.known(channel);
    queueMicrotask(() => {
      if (!this.#listener.wants.has(channel)) return;
      if (count !== undefined) this.#emit("count", { channel, count });
      if (board !== undefined) this.#emit("board", board);
      if (place !== undefined) this.#emit("place", place);
      if (members !== undefined) this.#emit("members", { channel, members, joined: [], left: [] });
      if (error !== undefined) this.#emit("error", error);
    });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

// The number is read out at most this often (ms).
const SAY_EVERY = 30_000;

const number = new Intl.NumberFormat();

/** `<live-count>`: the number of people in a channel, as plain text that inherits the page's style. */
class LiveCount extends HTMLElement {
  static observedAttributes = ["channel", "watch"];

  #client = null;
  #value = null;
  #voice = new Voice(SAY_EVERY);
  #said;

  constructor() {
    super();
    // The visible number stays in the element itself, where the page can style and read it, hidden from
    // screen readers; they get the shadow's calmer copy.
    const seen = document.createElement("span");
    seen.ariaHidden = "true";
    seen.append(document.createElement("slot"));
    this.attachShadow({ mode: "open" }).append(seen, this.#voice.element);
  }

  /** The last known number, or null. */
  get value() {
    return this.#value;
  }

  get channel() {
    return this.getAttribute("channel") || DEFAULT_CHANNEL;
  }

  connectedCallback() {
    this.#client = new Headcount();
    this.#client.addEventListener("count", ({ detail }) => this.#show(detail.count));
    showState(this, this.#client, this.channel);
    if (this.hasAttribute("watch")) this.#client.watch(this.channel);
    else this.#client.subscribe(this.channel);
  }

  disconnectedCallback() {
    this.#client?.close();
    this.#client = null;
    this.#voice.stop();
  }

  attributeChangedCallback(name, before, after) {
    if (!this.#client || before === after) return;
    // Better no number than another channel's.
    if (name === "channel") this.#show(null);
    this.disconnectedCallback();
    this.connectedCallback();
  }

  #show(value) {
    if (value === this.#value) return;
    this.#value = value;
    this.textContent = value === null ? "–" : number.format(value);
    // The page is told first, so that it can set a label that fits the number.
    this.dispatchEvent(new Event("count", { bubbles: true }));
    this.#voice.changed(() => this.#words());
  }

  #words() {
    if (this.#said === this.#value) return "";
    this.#said = this.#value;
    return [this.textContent, this.getAttribute("label")].filter(Boolean).join(" ");
  }
}

// A page may include the scripts of two servers; the first one defines the element.
// Boards and lists of members are for few pages: their elements are loaded where there is one.
if (document.querySelector("live-board")) import("./live-board.js");
if (document.querySelector("live-members")) import("./live-members.js");

if (!customElements.get("live-count")) customElements.define("live-count", LiveCount);
