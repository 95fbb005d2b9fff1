// <live-members channel="room:1">: who is on a channel, live, on a server whose channel has `members = true`.
//
// Attributes: `channel`; `watch` (show the list without being on it); `initials` (show those only); `top` (show so
// many, 24 unless set, and how many more there are); `label` (what a screen reader calls the list).
// Parts for the page's own style: list, member, initials, name, more. The `state` attribute is as that of
// <live-count>; the `members` event tells of a new `value`, or of another number where there is no list.
//
// A member's name is its `info.name`, where its token has one, else its handle. Whoever has no token is a guest.
// headcount.js loads this file where the page has such an element. For one that is made by script, import it.
//
// The rule it keeps: what strangers call themselves is set as text, never as markup or an address, and it
// cannot turn the text around it.

import { arrange, list, part, shadow, showState } from "./element.js";
import { Headcount } from "./headcount.js";
import { Voice } from "./voice.js";

const TOP = 24; // shown unless told otherwise
const LONGEST = 64; // characters of a name
// What nobody sees, and what turns the direction of text.
const UNSEEN = /[\p{Cc}\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/gu;
// Who comes and goes is said to screen readers at most this often (ms), and by name only if they are few.
const SAY_EVERY = 10_000;
const FEW = 3;

const STYLE = `
  :host { display: block; }
  ul { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: .4em; align-items: center; }
  li { display: inline-flex; align-items: center; gap: .4em; max-width: 16em; padding: .15em .6em .15em .15em;
    border-radius: 2em; background: color-mix(in srgb, currentColor 8%, transparent); }
  .initials { flex: none; display: grid; place-items: center; width: 1.9em; height: 1.9em; border-radius: 50%;
    font-size: .8em; font-weight: 600; color: #fff; background: hsl(var(--hue) 45% 38%);
    overflow: hidden; white-space: nowrap; }
  .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; unicode-bidi: isolate; }
  :host([initials]) li { padding: 0; background: none; }
  :host([initials]) .name { position: absolute; width: 1px; height: 1px; overflow: hidden;
    clip-path: inset(50%); white-space: nowrap; }
  .more { opacity: .7; padding: .15em .3em; background: none; }
  :host([state="degraded"]) ul, :host([state="waiting"]) ul { opacity: .6; }
  [hidden] { display: none; }
`;

const number = new Intl.NumberFormat();

class LiveMembers extends HTMLElement {
  static observedAttributes = ["channel", "watch", "top", "label"];

  #client = null;
  #members; // an array; null where there are too many; undefined while nobody knows
  #count = null;
  #list = list("ul");
  #more = part("li", "more");
  #voice = new Voice(SAY_EVERY);
  #news = { joined: new Map(), left: new Map() };

  constructor() {
    super();
    shadow(this, STYLE, this.#list, this.#voice.element);
  }

  /** The last known list, `[{ id, info }, …]`; null if there is none, as when there are too many. */
  get value() {
    return this.#members ?? null;
  }

  get channel() {
    return this.getAttribute("channel") ?? "";
  }

  connectedCallback() {
    if (!this.channel) return;
    this.#client = new Headcount();
    const mine = ({ detail }) => detail.channel === this.channel;
    showState(this, this.#client, this.channel);
    this.#client.addEventListener("members", (event) => mine(event) && this.#take(event.detail));
    this.#client.addEventListener("count", (event) => {
      if (!mine(event)) return;
      this.#count = event.detail.count;
      if (this.#members !== null) return;
      this.#draw();
      this.dispatchEvent(new Event("members", { bubbles: true }));
    });
    if (this.hasAttribute("watch")) this.#client.watch(this.channel);
    else this.#client.subscribe(this.channel);
  }

  disconnectedCallback() {
    this.#client?.close();
    this.#client = null;
    this.#voice.stop();
  }

  attributeChangedCallback(name, before, after) {
    if (before === after) return;
    if (name === "channel" || name === "watch") {
      if (name === "channel") {
        this.#members = undefined;
        this.#news = { joined: new Map(), left: new Map() };
      }
      if (this.isConnected) {
        this.disconnectedCallback();
        this.connectedCallback();
      }
    }
    this.#draw();
  }

  #take({ members, joined, left }) {
    const first = this.#members === undefined;
    this.#members = members;
    this.#draw();
    this.dispatchEvent(new Event("members", { bubbles: true }));
    if (first) return;
    // Somebody who came and went before that was said is not spoken of.
    for (const member of joined) if (!this.#news.left.delete(member.id)) this.#news.joined.set(member.id, member);
    for (const member of left) if (!this.#news.joined.delete(member.id)) this.#news.left.set(member.id, member);
    this.#voice.changed(() => this.#words());
  }

  // What has not been said yet.
  #words() {
    const { joined, left } = this.#news;
    this.#news = { joined: new Map(), left: new Map() };
    return [told(joined, "joined"), told(left, "left")].filter(Boolean).join(" ");
  }

  #draw() {
    this.#list.setAttribute("aria-label", this.getAttribute("label") || "Who is here");
    const members = this.#members ?? [];
    const top = Number.parseInt(this.getAttribute("top") ?? "", 10);
    const shown = members.slice(0, top > 0 ? top : TOP);
    const more = this.#moreThan(shown.length);
    this.#more.textContent = more;
    const rows = arrange(this.#list, [...shown.map(({ id }) => `member ${id}`), ...(more ? ["more"] : [])], (key) =>
      key === "more" ? this.#more : rowOf());
    shown.forEach((member, index) => fill(rows[index], member));
  }

  // How many more there are than are shown, or how many in all where there is no list.
  #moreThan(shown) {
    if (this.#members === null) return this.#count === null ? "" : `${number.format(this.#count)} people`;
    const rest = (this.#members?.length ?? 0) - shown;
    return rest > 0 ? `+${number.format(rest)} more` : "";
  }
}

function rowOf() {
  const row = part("li", "member");
  row.append(part("span", "initials"), part("bdi", "name"));
  row.firstChild.ariaHidden = "true";
  return row;
}

function fill(row, member) {
  const name = nameOf(member);
  const [initials, shown] = row.children;
  if (shown.textContent === name) return;
  shown.textContent = name;
  row.title = name;
  initials.textContent = initialsOf(name);
  initials.style.setProperty("--hue", hueOf(member.id));
}

function nameOf({ id, info }) {
  const named = typeof info?.name === "string" ? seen(info.name) : "";
  const name = named || (/^~[0-9a-f]{16}$/.test(id) ? `Guest ${id.slice(1, 5)}` : seen(id) || "?");
  return [...name].slice(0, LONGEST).join("");
}

function seen(text) {
  return text.replace(UNSEEN, "").trim();
}

// The first letters of the first and the last word; of letters that several characters make, all.
function initialsOf(name) {
  const words = name.split(/\s+/).filter(Boolean);
  const ends = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  return ends.map(firstLetter).join("").toLocaleUpperCase();
}

function firstLetter(whole) {
  const word = whole.replace(/^[^\p{L}\p{N}\p{Emoji}]+/u, "") || whole;
  const segments = globalThis.Intl?.Segmenter ? new Intl.Segmenter().segment(word)[Symbol.iterator]() : null;
  return segments ? (segments.next().value?.segment ?? "") : ([...word][0] ?? "");
}

function hueOf(id) {
  let hash = 0;
  for (const char of id) hash = (hash * 31 + char.codePointAt(0)) % 360;
  return String(hash);
}

function told(members, what) {
  if (members.size === 0) return "";
  if (members.size > FEW) return `${number.format(members.size)} people ${what}.`;
  return `${[...members.values()].map(nameOf).join(", ")} ${what}.`;
}

if (!customElements.get("live-members")) customElements.define("live-members", LiveMembers);
