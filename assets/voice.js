// What screen readers are told about something that changes often: at once, then at most every so often.

// There for screen readers alone. The style is set by script, which no content security policy forbids.
const UNSEEN = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap";

export class Voice {
  /** Belongs into the page, or into an element's shadow. */
  element = document.createElement("span");
  #every;
  #words = () => "";
  #timer = 0;

  /** Says nothing more within `every` ms of the last time. */
  constructor(every) {
    this.#every = every;
    this.element.setAttribute("role", "status");
    this.element.setAttribute("aria-live", "polite");
    this.element.style.cssText = UNSEEN;
  }

  /** Something has changed. `words` is asked what there is to say when it is about to be said; "" is nothing. */
  changed(words) {
    this.#words = words;
    if (!this.#timer) this.#say();
  }

  /** Says nothing of what has changed so far. */
  stop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  #say() {
    const text = this.#words();
    if (!text) return;
    this.element.textContent = text;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#say();
    }, this.#every);
  }
}
