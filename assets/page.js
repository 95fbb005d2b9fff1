// The server's own page: the number in large, the state of the connection in words, the channel's messages.
//
// In: `?channel=` in the page's address, and the events of the client script. Out: the text of index.html's
// elements. It uses headcount.js like any other page would.
// The rule: what comes from the network is set as text, never as markup.

const FIGURES = 60; // at most this many figures stand for the people
const MESSAGES = 8; // this many messages are kept
const MESSAGE_LENGTH = 400; // this many characters of a message are shown

const $ = (id) => document.getElementById(id);

const { DEFAULT_CHANNEL, TRENDING } = await import("./default.js");
const channel = new URLSearchParams(location.search).get("channel") || DEFAULT_CHANNEL;
const element = $("count");
// The element gets its channel before the script defines it, so that it never joins another one.
element.setAttribute("channel", channel);
const { connect } = await import("./headcount.js");

$("channel").textContent = channel;
$("publish").textContent = `redis-cli PUBLISH ${quoted(channel)} hello`;
$("embed").textContent =
  `<script type="module"\nsrc="${new URL("headcount.js", import.meta.url).href}"></script>\n` +
  `<live-count channel="${channel.replaceAll("&", "&amp;").replaceAll('"', "&quot;")}"></live-count>\npeople here`;

function quoted(word) {
  return /^[\w:/.-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

// The most visited pages, where the server is configured to show them.

if (TRENDING) {
  const board = document.createElement("live-board");
  board.setAttribute("channel", TRENDING);
  board.setAttribute("label", "Most visited pages");
  $("trending").append(board);
  $("trending").hidden = false;
  import("./live-board.js");
}

// The number and the crowd.

element.addEventListener("count", () => {
  const noun = element.value === 1 ? "person here" : "people here";
  element.setAttribute("label", noun);
  $("noun").textContent = noun;
  element.classList.toggle("long", element.textContent.length > 5);
  document.title = element.value === null ? "headcount" : `${element.textContent} ${noun}`;
  drawCrowd(Math.max(0, element.value ?? 0));
});

function drawCrowd(people) {
  let scale = 1;
  while (people / scale > FIGURES) scale *= 10;
  const crowd = $("crowd");
  const figures = Math.ceil(people / scale);
  while (crowd.childElementCount > figures) crowd.lastChild.remove();
  while (crowd.childElementCount < figures) crowd.append(document.createElement("i"));
  $("scale").textContent = scale === 1 ? "" : `each stands for ${new Intl.NumberFormat().format(scale)}`;
}

// The state of the connection. This client only watches, because the element is counted already.

const client = connect({ watch: [channel] });
let refusal = "";
let countdown = 0;

client.addEventListener("state", ({ detail }) => {
  if (detail.name === "connecting") refusal = "";
  showState();
});
client.addEventListener("error", ({ detail }) => {
  refusal = `The server refused this channel: ${detail.message || detail.code}`;
  showState();
});
element.addEventListener("count", showState);
showState();

function showState() {
  const state = client.state;
  clearInterval(countdown);
  if (state.name === "waiting") countdown = setInterval(() => say(state), 1_000);
  say(state);
}

function say(state) {
  const name = refusal && state.name !== "waiting" ? "refused" : state.name;
  const text = sentence(name, state);
  const line = $("state");
  line.dataset.state = name;
  // The countdown is for the eye; a screen reader announces only that the state has changed.
  line.ariaLive = name === "waiting" && line.textContent.startsWith("Reconnecting") ? "off" : "polite";
  if (line.textContent !== text) line.textContent = text;
}

function sentence(name, { retryAt, reason, code }) {
  const last = element.value === null ? "no number is known yet" : "this is the last known number";
  switch (name) {
    case "live":
      return "Live";
    case "degraded":
      return `The store is out of reach: ${last}.`;
    case "waiting": {
      const seconds = Math.ceil((retryAt - Date.now()) / 1_000);
      return `Reconnecting ${seconds > 0 ? `in ${seconds} s` : "now"}: ${last}.`;
    }
    case "closed":
      return `Closed by the server (${reason || code}). Reload the page to try again.`;
    case "refused":
      return refusal;
    default:
      return "Connecting…";
  }
}

// The messages that are not counts.

const messages = [];
let drawing = 0;

client.addEventListener("message", ({ detail: { data, count } }) => {
  if (count) return;
  messages.unshift({ at: new Date(), text: readable(data) });
  messages.length = Math.min(messages.length, MESSAGES);
  // A burst is drawn once a frame, and not at all while nobody is looking.
  drawing ||= requestAnimationFrame(drawMessages);
});

function readable(data) {
  if (data instanceof Uint8Array) return `${data.length} bytes`;
  const text = typeof data === "string" ? data : JSON.stringify(data);
  return text.length > MESSAGE_LENGTH ? `${text.slice(0, MESSAGE_LENGTH)}…` : text;
}

function drawMessages() {
  drawing = 0;
  $("messages").replaceChildren(...messages.map(({ at, text }) => {
    const line = document.createElement("li");
    const time = document.createElement("time");
    time.dateTime = at.toISOString();
    time.textContent = at.toLocaleTimeString();
    line.append(time, text);
    return line;
  }));
}
