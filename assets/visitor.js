// Who this browser is to a server that counts people: a random id, so that three tabs are one person.
//
// It is kept in the localStorage of the page that includes the script, so two sites never share one, and
// it says nothing about anybody. <script … data-storage="none"> keeps nothing: then each view of a page is
// a person of its own, as it is where the browser forbids storage.

const KEY = "headcount.visitor";

// The ids that the server takes.
const VALID = /^[\w-]{16,64}$/;

/** The id, which stays the same for as long as the page is open. `script`: the address of the script. */
export function visitor(script) {
  const tag = [...document.scripts].find(({ src }) => src === script);
  const fresh = draw();
  if (tag?.dataset.storage === "none") return fresh;
  try {
    if (!VALID.test(localStorage.getItem(KEY))) localStorage.setItem(KEY, fresh);
    // Another tab may have been faster.
    return localStorage.getItem(KEY) ?? fresh;
  } catch {
    return fresh;
  }
}

// 128 random bits in base64url.
function draw() {
  const bits = String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16)));
  return btoa(bits).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
