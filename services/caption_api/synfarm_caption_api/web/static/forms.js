// Small helps for forms: what is going on after a press, concepts by a click, copies.

export function helpForms() {
  for (const form of document.querySelectorAll("form[data-pending]")) showPending(form);
  helpFilter(document);
  const concepts = document.getElementById("concepts");
  for (const button of concepts ? document.querySelectorAll("button[data-add]") : []) {
    button.disabled = false;
    button.addEventListener("click", () => addLine(concepts, button.dataset.add));
  }
  document.querySelector("[data-focus]")?.focus();
}

/** A choice needs no button to send it. */
export function helpFilter(root) {
  for (const select of root.querySelectorAll("select[data-submit]")) {
    select.addEventListener("change", () => select.form.requestSubmit());
    select.form.querySelector("button").hidden = true;
  }
}

export function offerCopies(root) {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(root.querySelector(button.dataset.copy).textContent.trim());
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
}

function showPending(form) {
  const buttons = form.querySelectorAll("button:not([type=button])");
  const words = form.querySelector(".pending");
  form.addEventListener("submit", (event) => {
    words.textContent = event.submitter?.dataset.say ?? "Sending …";
    // Not before the browser has read the form: a disabled button would not tell which one was pressed.
    setTimeout(() => buttons.forEach((button) => { button.disabled = true; }));
  });
  addEventListener("pageshow", () => {
    words.textContent = "";
    buttons.forEach((button) => { button.disabled = false; });
  });
}

function addLine(area, name) {
  const lines = area.value.split("\n").map((line) => line.split(":")[0].trim().toLowerCase());
  if (lines.includes(name.toLowerCase())) return;
  area.value += (area.value && !area.value.endsWith("\n") ? "\n" : "") + name + "\n";
}
