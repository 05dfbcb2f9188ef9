// Keeps a region fresh: the server renders it, events say when, a timer asks anyway; nothing is asked for a hidden tab.
import { askElement, say, tellLost } from "./fetching.js";

const LEAST_MS = 1000;
const LONGEST_MS = 30000;
const EVENTS = ["state", "progress", "units", "stalled", "reset"];

export function keepLive() {
  document.querySelectorAll("[data-live]").forEach(keep);
}

function keep(region) {
  const every = 1000 * Number(region.dataset.every);
  let timer = 0;
  let asked = 0;
  let failures = 0;
  let source = null;
  let done = isFinal(region);
  tellTitle(region.firstElementChild);

  async function refresh() {
    clearTimeout(timer);
    if (done || document.hidden) return;
    asked = Date.now();
    try {
      const fresh = await askElement(region.dataset.live);
      if (fresh.outerHTML !== region.firstElementChild?.outerHTML) swap(region, fresh);
      failures = 0;
      tellLost(null);
      tellTitle(fresh);
      say(fresh.dataset.say);
      region.dispatchEvent(new CustomEvent("fresh"));
      done = isFinal(region);
    } catch (error) {
      failures += 1;
      tellLost(error.message);
    }
    if (done) source?.close();
    else timer = setTimeout(refresh, Math.min(every * 2 ** failures, Math.max(every, LONGEST_MS)));
  }

  function soon() {
    clearTimeout(timer);
    timer = setTimeout(refresh, Math.max(0, asked + LEAST_MS - Date.now()));
  }

  // A browser keeps few connections to one server: a hidden tab holds none.
  function follow() {
    source?.close();
    source = null;
    if (done || document.hidden || !region.dataset.events) return;
    source = new EventSource(region.dataset.events);
    for (const name of EVENTS) source.addEventListener(name, soon);
  }

  document.addEventListener("visibilitychange", () => {
    follow();
    if (!document.hidden) soon();
  });
  follow();
  if (!done) timer = setTimeout(refresh, every);
}

function isFinal(region) {
  return region.firstElementChild?.dataset.final !== undefined;
}

function tellTitle(root) {
  if (root?.dataset.title) document.title = `${root.dataset.title} · synfarm`;
}

/** Replace the region's content; what is open stays open, what has the focus keeps it. */
function swap(region, fresh) {
  const open = [...region.querySelectorAll("details[open][id]")].map((details) => details.id);
  const focused = region.contains(document.activeElement) ? document.activeElement : null;
  const place = focused && !focused.id && focused.getAttribute("href");
  const scrolled = [...region.querySelectorAll(".wide")].map((wide) => wide.scrollLeft);
  region.replaceChildren(document.adoptNode(fresh));
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  region.querySelectorAll(".wide").forEach((wide, i) => { wide.scrollLeft = scrolled[i] ?? 0; });
  if (focused?.id) document.getElementById(focused.id)?.focus({ preventScroll: true });
  else if (place) region.querySelector(`a[href="${CSS.escape(place)}"]`)?.focus({ preventScroll: true });
}
