// Keeps the page current: asks for it again every five seconds, and puts what is in its <main> in place of what is here.
"use strict";
(() => {
  const INTERVAL = 5000;
  const main = document.querySelector("main");
  const said = document.getElementById("live");

  const same = (element, other) => other.tagName === element.tagName && other.outerHTML === element.outerHTML;

  // Whoever marks text, or is elsewhere, is left alone.
  const waits = () => document.hidden || !getSelection().isCollapsed;

  const put = (fresh) => {
    const focused = document.activeElement;
    const held = main.contains(focused) && focused !== main ? focused : null;
    main.replaceChildren(...fresh.childNodes);
    if (held !== null) {
      const again = [...main.querySelectorAll(held.tagName)].find((other) => same(held, other));
      if (again !== undefined) {
        again.focus({ preventScroll: true });
      }
    }
  };

  const refresh = async () => {
    if (waits()) {
      return;
    }
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
      if (answer.status >= 500 || fresh === null) {
        throw new Error("no page");
      }
      put(fresh);
      tell("It is live.");
    } catch {
      tell("The proxy does not answer: what is shown is old.");
    }
  };

  // Said once: a screen reader reads each change.
  const tell = (text) => {
    if (said !== null && said.textContent !== text) {
      said.textContent = text;
    }
  };

  setInterval(refresh, INTERVAL);
})();
