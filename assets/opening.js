// What a connection opens with: its address, who this is, a token where the page has them, and how long to
// wait before another try.

// Back-off: the delay before a try is drawn from [ceiling / 10, ceiling], so that the clients of a server
// that died do not come back in step. The ceiling starts at a second and doubles with each try that failed.
// A browser does not tell a script why a handshake failed, and a full server answers it with a 503. So a
// server that has turned us away again and again is given more and more rest (milliseconds).
const FIRST = 1_000;
const CAP = 60_000;
const LONGEST_PAUSE = 30_000; // the longest pause that a server may ask for

/** The address that joins the wanted channels, a map: channel → "subscribe" or "watch". */
export function addressOf(url, wanted, isReconnect) {
  const address = new URL(url);
  for (const [channel, mode] of wanted) {
    address.searchParams.append(mode === "watch" ? "watch" : "channel", channel);
  }
  if (isReconnect) address.searchParams.set("reconnect", "1");
  return address;
}

/** Who this is, as subprotocols: not in the address, which proxies log. */
export function offersOf(visitor, token) {
  const offers = [];
  if (visitor) offers.push(`headcount.visitor.${visitor}`);
  if (token !== undefined) offers.push(`headcount.token.${token}`);
  return offers.length > 0 ? ["headcount", ...offers] : [];
}

/** The token of a source, which may be a promise's, and may fail. */
export async function tokenOf(source) {
  const token = await source();
  if (typeof token !== "string" || token === "") throw new TypeError("no token");
  return token;
}

/** The delay before the next try, after so many that failed. */
export function delayAfter(failures) {
  const ceiling = Math.min(CAP, FIRST * 2 ** failures);
  return ceiling * (0.1 + 0.9 * Math.random());
}

/** The pause that a stopping server asks for: its reason ends in "in 1234 ms". */
export function pauseIn(reason) {
  const pause = / in (\d+) ms$/.exec(reason)?.[1];
  return pause && Math.min(Number(pause), LONGEST_PAUSE);
}
