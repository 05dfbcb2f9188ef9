// One way to ask this server: problems become errors with the server's own words, a lost key leads to the sign-in.

const lost = document.getElementById("lost");

/** The answer to a GET; throws an Error with what to tell the reader. */
export async function ask(url) {
  let answer;
  try {
    answer = await fetch(url, { credentials: "same-origin" });
  } catch {
    throw new Error("The server does not answer; trying again …");
  }
  if (answer.status === 401) {
    location.reload();
    throw new Error("Signed out.");
  }
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.detail ?? `The server answered ${answer.status}.`);
  }
  return answer;
}

/** The first element of a piece of HTML from this server. */
export async function askElement(url) {
  const text = await (await ask(url)).text();
  return new DOMParser().parseFromString(text, "text/html").body.firstElementChild;
}

/** Say at the foot of the page why it is not fresh; nothing takes it back. */
export function tellLost(words) {
  lost.textContent = words ?? "";
  lost.hidden = !words;
}

/** Tell screen readers, once for each new text. */
export function say(words) {
  const said = document.getElementById("said");
  if (words && said.textContent !== words) said.textContent = words;
}
