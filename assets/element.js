// What the elements share that show what is on a channel: parts, a shadow with a style, the `state` attribute,
// and lists whose rows stay where they are.

/** An element with a part for the page's own style. */
export function part(name, called) {
  const made = document.createElement(name);
  made.part = called;
  made.className = called;
  return made;
}

/** A list. Some screen readers forget that one without markers is one. */
export function list(name) {
  const made = part(name, "list");
  made.setAttribute("role", "list");
  return made;
}

/** Gives an element a shadow with a style. It is set by script: no content security policy forbids that. */
export function shadow(host, style, ...children) {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(style);
  const root = host.attachShadow({ mode: "open" });
  root.adoptedStyleSheets = [sheet];
  root.append(...children);
}

/**
 * Keeps an element's `state` attribute as its client's state is, or at "refused" while the server does not let it on
 * its channel. Returns what to call when the server does after all.
 */
export function showState(host, client, channel) {
  let refused = false;
  const tell = ({ name }) => {
    if (name === "connecting") refused = false; // a new connection asks anew
    host.setAttribute("state", refused ? "refused" : name);
  };
  client.addEventListener("state", ({ detail }) => tell(detail));
  client.addEventListener("error", ({ detail }) => {
    // Whoever is not counted is on the channel all the same.
    refused ||= detail.channel === channel && detail.code !== "not_counted";
    tell(client.state);
  });
  tell(client.state);
  return () => {
    refused = false;
    tell(client.state);
  };
}

/**
 * Puts one row for each key into a list, in that order, and returns them; `make` makes one that is not there.
 * Only rows that are not in their place are moved, so that a reader's place in the list is kept.
 */
export function arrange(parent, keys, make) {
  const before = new Map([...parent.children].map((row) => [row.dataset.key, row]));
  const now = keys.map((key) => {
    const row = before.get(key) ?? make(key);
    row.dataset.key = key;
    before.delete(key);
    return row;
  });
  for (const row of before.values()) row.remove();
  now.forEach((row, index) => {
    if (parent.children[index] !== row) parent.insertBefore(row, parent.children[index] ?? null);
  });
  return now;
}
