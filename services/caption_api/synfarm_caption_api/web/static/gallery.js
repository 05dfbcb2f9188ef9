// A sample beside its gallery: a click opens it in a dialog, arrow keys lead to its neighbours.
import { ask, askElement } from "./fetching.js";
import { helpFilter, offerCopies } from "./forms.js";

export function openSamples() {
  const part = document.querySelector(".gallery-part");
  if (!part) return;
  connect(part);
  document.getElementById("live").addEventListener("fresh", fillWhenThere);
}

/** A page that was opened while the job went on gets its gallery with the units, until there is more than it shows. */
async function fillWhenThere() {
  const part = document.querySelector("[data-growing]");
  const final = document.querySelector("#live > [data-final]") !== null;
  if (!part || (part.querySelector("[rel=next]") && !final)) return;
  const fresh = await askElement(part.dataset.growing).catch(() => null);
  if (!fresh || !part.isConnected) return;
  const dialog = part.querySelector("dialog");
  if (dialog.open || part.contains(document.activeElement)) {
    // Not under its reader's hands.
    (dialog.open ? dialog : part).addEventListener(dialog.open ? "close" : "focusout", () => setTimeout(fillWhenThere), { once: true });
    return;
  }
  if (!final && count(fresh) === count(part)) return;
  part.replaceWith(document.adoptNode(fresh));
  helpFilter(fresh);
  connect(fresh);
}

function count(part) {
  return part.querySelectorAll("[data-sample]").length;
}

function connect(part) {
  const dialog = part.querySelector("#sample");
  const body = part.querySelector("#sample-body");
  const links = [...part.querySelectorAll("[data-sample]")];
  let at = -1;

  async function show(index) {
    const link = links[index];
    if (!link) return;
    at = index;
    part.querySelector("#sample-before").disabled = index === 0;
    part.querySelector("#sample-after").disabled = index === links.length - 1;
    body.setAttribute("aria-busy", "true");
    let fresh;
    try {
      const text = await (await ask(`${link.getAttribute("href")}/detail`)).text();
      fresh = new DOMParser().parseFromString(text, "text/html").body.firstElementChild;
    } catch {
      location.assign(link.href); // its page tells what is wrong
      return;
    }
    if (at !== index) return; // another one was asked for meanwhile
    body.replaceChildren(document.adoptNode(fresh));
    body.removeAttribute("aria-busy");
    offerCopies(body);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

  links.forEach((link, index) => link.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    show(index);
  }));
  part.querySelector("#sample-before").addEventListener("click", () => show(at - 1));
  part.querySelector("#sample-after").addEventListener("click", () => show(at + 1));
  part.querySelector("#sample-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(at - 1);
    if (event.key === "ArrowRight") show(at + 1);
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => links[at]?.focus());
}
