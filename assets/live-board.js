// <live-board channel="board:game">: the top of a sorted set as an ordered list, live.
//
// Attributes: `channel`; `top` (show fewer rows than the server sends); `member` (highlight this one, and
// show its own place below the list where it is not in it); `label` (what a screen reader calls the list).
// Parts for the page's own style: list, row, rank, member, score, followed, own, empty. The `state`
// attribute is as that of <live-count>; the `board` event tells of a new `value`.
//
// headcount.js loads this file where the page has such an element. For one that is made by script, import it.
//
// The rule it keeps: what programs wrote into the sorted set is set as text, never as markup.

import { arrange, list, part, shadow, showState } from "./element.js";
import { Headcount } from "./headcount.js";

const MOVE = 300; // ms for which a row slides to its new place

const STYLE = `
  :host { display: block; font-variant-numeric: tabular-nums; }
  ol { list-style: none; margin: 0; padding: 0; }
  li, .own { display: grid; grid-template-columns: 2.5em 1fr auto; gap: .5em; padding: .3em .5em; }
  li + li, .own { border-top: 1px solid color-mix(in srgb, currentColor 15%, transparent); }
  .rank { opacity: .6; text-align: end; }
  .member { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .followed { font-weight: 600; background: color-mix(in srgb, currentColor 8%, transparent); }
  [hidden] { display: none; }
  .empty { opacity: .6; padding: .3em .5em; margin: 0; }
`;

const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 6 });

class LiveBoard extends HTMLElement {
  static observedAttributes = ["channel", "member", "top", "label"];

  #client = null;
  #board = null; // { board, size }, as the server told it
  #place = null; // { member, rank, score } of the followed member
  #list = list("ol");
  #own = part("div", "own");
  #empty = part("p", "empty");

  constructor() {
    super();
    this.#empty.textContent = "Nobody is on this board yet.";
    this.#own.hidden = true;
    this.#empty.hidden = true;
    shadow(this, STYLE, this.#list, this.#own, this.#empty);
  }

  /** The last known board: `{ board: [[member, score], …], size }`, or null. */
  get value() {
    return this.#board;
  }

  get channel() {
    return this.getAttribute("channel") ?? "";
  }

  connectedCallback() {
    if (!this.channel) return;
    this.#client = new Headcount();
    const mine = ({ detail }) => detail.channel === this.channel;
    const allowed = showState(this, this.#client, this.channel);
    this.#client.addEventListener("board", (event) => {
      if (!mine(event)) return;
      const { board, size } = event.detail;
      this.#board = { board, size };
      allowed(); // the key is a board again
      this.#draw();
      this.dispatchEvent(new Event("board", { bubbles: true }));
    });
    this.#client.addEventListener("place", (event) => {
      if (!mine(event)) return;
      this.#place = event.detail;
      this.#draw();
    });
    this.#client.watch(this.channel, { member: this.getAttribute("member") ?? undefined });
  }

  disconnectedCallback() {
    this.#client?.close();
    this.#client = null;
  }

  attributeChangedCallback(name, before, after) {
    if (before === after) return;
    if (name === "channel") this.#board = null;
    if (name === "channel" || name === "member") {
      this.#place = null;
      if (this.isConnected) {
        this.disconnectedCallback();
        this.connectedCallback();
      }
    }
    this.#draw();
  }

  #draw() {
    const label = this.getAttribute("label") || this.channel;
    this.#list.setAttribute("aria-label", label);
    const followed = this.getAttribute("member");
    const most = Number.parseInt(this.getAttribute("top") ?? "", 10);
    const rows = (this.#board?.board ?? []).slice(0, most > 0 ? most : undefined);
    const tops = new Map([...this.#list.children].map((row) => [row, row.getBoundingClientRect().top]));
    const now = arrange(this.#list, rows.map(([member]) => JSON.stringify(member)), rowOf);
    now.forEach((row, index) => {
      const [member, score] = rows[index];
      fill(row, index + 1, member, score);
      const is = member === followed;
      row.part = is ? "row followed" : "row";
      row.className = is ? "followed" : "";
      if (is) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    });
    slide(now, tops);
    this.#drawOwn(followed, rows);
    this.#empty.hidden = this.#board === null || rows.length > 0;
  }

  // The followed member's place, where the list does not show it.
  #drawOwn(followed, rows) {
    const shown = rows.some(([member]) => member === followed);
    const place = this.#place?.member === followed && this.#place.rank !== null ? this.#place : null;
    this.#own.hidden = shown || place === null;
    if (this.#own.hidden) return;
    if (this.#own.childElementCount === 0) this.#own.append(...cells());
    this.#own.className = "own followed";
    this.#own.part = "own followed";
    fill(this.#own, place.rank + 1, followed, place.score);
  }
}

function rowOf() {
  const row = part("li", "row");
  row.append(...cells());
  return row;
}

function cells() {
  return ["rank", "member", "score"].map((called) => part("span", called));
}

function fill(row, rank, member, score) {
  // A member that is no text comes as { base64 }; its bytes mean nothing to a reader.
  const name = typeof member === "string" ? member : `${member.base64.slice(0, 12)}…`;
  const shown = { inf: "∞", "-inf": "−∞" }[score] ?? number.format(score);
  [number.format(rank), name, shown].forEach((text, index) => {
    const cell = row.children[index];
    if (cell.textContent !== text) cell.textContent = text;
  });
}

// Lets rows glide from where they were. Whoever asked for less motion sees them change places at once.
function slide(rows, tops) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  for (const row of rows) {
    const from = tops.get(row);
    if (from === undefined) continue;
    const by = from - row.getBoundingClientRect().top;
    if (by !== 0) row.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { duration: MOVE, easing: "ease-out" });
  }
}

if (!customElements.get("live-board")) customElements.define("live-board", LiveBoard);
