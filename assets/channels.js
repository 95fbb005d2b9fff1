// What the server has told of each channel.
//
// In: its frames. Out: what is known of a channel (count, board, place, members, error), and an event for
// each change.
// What is not understood is passed over: a newer server may say more than this script knows.

/** Takes in a frame about a channel. `channels` is a map: channel → what is known of it. */
export function takeIn(channels, frame, emit) {
  const { channel } = frame;
  if (typeof channel === "string") {
    if ("data" in frame) message(channels, frame, emit);
    board(channels, channel, frame, emit);
    place(channels, frame, emit);
    members(channels, channel, frame, emit);
  }
  const joined = frame.subscribed ?? frame.watching;
  if (typeof joined === "string") {
    count(channels, joined, frame.data, emit);
    board(channels, joined, frame, emit);
    members(channels, joined, frame, emit);
    if (frame.gap === true) emit("gap", joined, { channel: joined });
  }
}

function message(channels, { channel, data, base64, count: counts }, emit) {
  const payload = base64 === true && typeof data === "string" ? bytes(data) : data;
  // Only the server can tell a count from a message that looks like one.
  if (counts === true) count(channels, channel, payload, emit);
  emit("message", channel, { channel, data: payload, count: counts === true });
}

function count(channels, channel, number, emit) {
  const known = channels.get(channel);
  if (!known || !Number.isSafeInteger(number)) return;
  known.count = number;
  emit("count", channel, { channel, count: number });
}

function board(channels, channel, { board: top, size }, emit) {
  const known = channels.get(channel);
  if (!known || !Array.isArray(top)) return;
  known.board = { channel, board: top, size };
  known.error = undefined;
  emit("board", channel, known.board);
}

function place(channels, { channel, member, rank, score }, emit) {
  const known = channels.get(channel);
  if (!known || typeof member !== "string" || rank === undefined) return;
  known.place = { channel, member, rank, score };
  emit("place", channel, known.place);
}

// A whole list, null where there is none to show, or what changed. Listeners hear of both as a change.
function members(channels, channel, { members: list, joined, left }, emit) {
  const known = channels.get(channel);
  if (!known || (list === undefined && !Array.isArray(joined) && !Array.isArray(left))) return;
  const before = new Map((known.members ?? []).map((member) => [member.id, member]));
  const now = new Map(Array.isArray(list) ? list.map((member) => [member.id, member]) : before);
  if (list === undefined) {
    // Whoever went may have been followed by another of that name.
    for (const id of left ?? []) now.delete(id);
    for (const member of joined ?? []) now.set(member.id, member);
  }
  known.members = list === null ? null : [...now.values()];
  const told = known.members ? { joined: lacking(now, before), left: lacking(before, now) } : { joined: [], left: [] };
  emit("members", channel, { channel, members: known.members, ...told });
}

// Those of one map that another has not.
function lacking(one, other) {
  return [...one.values()].filter(({ id }) => !other.has(id));
}

// Payloads that are neither JSON nor text travel as base64.
function bytes(base64) {
  try {
    return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}
