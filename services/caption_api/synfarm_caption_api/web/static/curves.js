// A run's curves: asks for what there is to draw while the run goes on, and moves one cross through all charts.
import { Chart } from "./chart.js";
import { ask, say, tellLost } from "./fetching.js";

const EVERY_MS = 2000;
const SLOWEST_MS = 60000;

export function drawCurves() {
  const place = document.querySelector("[data-curves]");
  if (!place) return;
  const words = place.querySelector("#curves-state");
  const grid = document.createElement("div");
  grid.className = "charts";
  const charts = new Map();
  let timer = 0;
  let final = false;

  function point(step, spoken) {
    for (const chart of charts.values()) chart.point(step);
    if (spoken) say([...charts.values()].map((chart) => chart.words()).filter(Boolean).join("; "));
  }

  async function refresh() {
    clearTimeout(timer);
    if (final || document.hidden) return;
    const begun = Date.now();
    let pause = EVERY_MS;
    try {
      const buckets = Math.max(100, Math.min(800, Math.round(place.clientWidth / 2)));
      const read = await (await ask(`${place.dataset.curves}?buckets=${buckets}`)).json();
      show(read);
      tellLost(null);
      final = read.final && !read.more;
      // A long run costs its trainer time to read: ask in proportion.
      pause = read.more ? 0 : Math.max(EVERY_MS, Math.min(SLOWEST_MS, 10 * (Date.now() - begun)));
    } catch (error) {
      tellLost(error.message);
      pause = 5 * EVERY_MS;
    }
    if (!final) timer = setTimeout(refresh, pause);
  }

  function show(read) {
    const drawn = read.panels.filter((panel) => panel.lines.some((line) => line.points.length > 0));
    const share = `${read.step.toLocaleString("en")} of ${read.total.toLocaleString("en")}`;
    if (read.more) words.textContent = `Reading steps: ${share} …`;
    else words.textContent = drawn.length ? "" : "Curves begin with the first step.";
    words.hidden = !words.textContent;
    if (drawn.length && !grid.isConnected) place.append(grid);
    for (const panel of drawn) {
      if (!charts.has(panel.name)) {
        const chart = new Chart(panel.name, point);
        charts.set(panel.name, chart);
        grid.append(chart.figure);
      }
      charts.get(panel.name).update(panel);
    }
    // An evaluation may be there before the first step: the order is the server's, not that of arrival.
    const ordered = drawn.map((panel) => charts.get(panel.name).figure);
    if (ordered.some((figure, i) => grid.children[i] !== figure)) grid.replaceChildren(...ordered);
  }

  document.addEventListener("visibilitychange", refresh);
  refresh();
}
