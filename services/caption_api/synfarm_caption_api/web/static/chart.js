// One chart as SVG: lines with their ranges, floors, ticks, a cross that reads values off. Knows no name of any line.

const SVG = "http://www.w3.org/2000/svg";
const TONES = 5;
const LEFT = 46;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 22;

export class Chart {
  /** @param {(step: number|null, spoken: boolean) => void} onPoint told when the reader points at a step */
  constructor(name, onPoint) {
    this.name = name;
    this.onPoint = onPoint;
    this.panel = null;
    this.at = null;
    this.figure = make("figure", { class: "chart" });
    this.caption = this.figure.appendChild(make("figcaption"));
    this.svg = this.figure.appendChild(makeSvg("svg", { role: "img", tabindex: "0" }));
    this.svg.addEventListener("pointermove", (event) => onPoint(this.#stepAt(event), false));
    this.svg.addEventListener("pointerdown", (event) => onPoint(this.#stepAt(event), false));
    this.svg.addEventListener("pointerleave", () => onPoint(null, false));
    this.svg.addEventListener("blur", () => onPoint(null, false));
    this.svg.addEventListener("keydown", (event) => this.#key(event));
    this.note = this.figure.appendChild(make("p", { class: "chart-note" }));
    new ResizeObserver(() => this.#draw()).observe(this.figure);
  }

  update(panel) {
    this.panel = panel;
    this.note.textContent = equals(panel.lines);
    this.note.hidden = !this.note.textContent;
    this.#draw();
  }

  /** Move the cross to a step, or take it away. */
  point(step) {
    this.at = step;
    this.#readOff();
  }

  /** What the cross reads, for the ear. */
  words() {
    if (this.at === null) return "";
    const read = this.panel.lines.map((line) => `${line.name} ${format(nearest(line.points, this.at)?.[1], this.panel.share)}`);
    return `step ${this.at}: ${read.join(", ")}`;
  }

  #draw() {
    const width = Math.round(this.figure.clientWidth);
    if (!this.panel || !width) return;
    const wide = width > 600;
    const height = wide ? 230 : 150;
    const { lines, floors, share } = this.panel;
    const all = lines.flatMap((line) => line.points);
    const steps = all.map((point) => point[0]);
    const low = Math.min(...all.map((point) => point[2]), ...floors.map((floor) => floor[1]));
    const high = Math.max(...all.map((point) => point[3]), ...floors.map((floor) => floor[1]));
    const ticks = niceTicks(share ? Math.max(0, low) : low, high, wide ? 5 : 3);
    this.scale = {
      width, height,
      first: Math.min(...steps), last: Math.max(...steps),
      bottom: Math.min(low, ticks[0]), top: Math.max(high, ticks.at(-1)),
    };
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const parts = [];
    for (const value of ticks) {
      const y = this.#y(value);
      parts.push(makeSvg("line", { class: "chart-grid", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }));
      parts.push(text(LEFT - 6, y + 4, "end", tick(value, share)));
    }
    for (const [value, anchor] of this.#stepTicks()) parts.push(text(this.#x(value), height - 6, anchor, tick(value)));
    for (const [, value] of floors) {
      parts.push(makeSvg("line", { class: "chart-floor", x1: LEFT, x2: width - RIGHT, y1: this.#y(value), y2: this.#y(value) }));
    }
    lines.forEach((line, i) => parts.push(...this.#line(line, i % TONES)));
    this.cross = makeSvg("line", { class: "chart-cross", y1: TOP, y2: height - BOTTOM });
    this.dots = lines.map((_, i) => makeSvg("circle", { class: `tone-${i % TONES}`, r: 3 }));
    this.svg.replaceChildren(...parts, this.cross, ...this.dots);
    this.#readOff();
  }

  #line(line, tone) {
    const points = line.points;
    const parts = [];
    const along = points.map(([step, mean]) => `${this.#x(step)},${this.#y(mean)}`);
    const ranged = points.some(([, , low, high]) => low !== high);
    if (ranged && points.length <= 20) {
      for (const [step, , low, high] of points) {
        const x = this.#x(step);
        parts.push(makeSvg("line", { class: `chart-whisker tone-${tone}`, x1: x, x2: x, y1: this.#y(low), y2: this.#y(high) }));
      }
    } else if (ranged) {
      const over = points.map(([step, , , high]) => `${this.#x(step)},${this.#y(high)}`);
      const under = points.map(([step, , low]) => `${this.#x(step)},${this.#y(low)}`).reverse();
      parts.push(makeSvg("polygon", { class: `chart-range tone-${tone}`, points: [...over, ...under].join(" ") }));
    }
    parts.push(makeSvg("polyline", { class: `chart-line tone-${tone}`, points: along.join(" ") }));
    if (points.length <= 20) {
      for (const [step, mean] of points) parts.push(makeSvg("circle", { class: `tone-${tone}`, r: 2.4, cx: this.#x(step), cy: this.#y(mean) }));
    }
    return parts;
  }

  #readOff() {
    if (!this.scale) return;
    const { lines, floors, share } = this.panel;
    const inside = this.at !== null && this.at >= this.scale.first && this.at <= this.scale.last;
    const read = lines.map((line) => (inside ? nearest(line.points, this.at) : line.points.at(-1)));
    this.cross.setAttribute("visibility", inside ? "visible" : "hidden");
    if (inside) {
      this.cross.setAttribute("x1", this.#x(this.at));
      this.cross.setAttribute("x2", this.#x(this.at));
    }
    this.dots.forEach((dot, i) => {
      dot.setAttribute("visibility", inside && read[i] ? "visible" : "hidden");
      if (read[i]) {
        dot.setAttribute("cx", this.#x(read[i][0]));
        dot.setAttribute("cy", this.#y(read[i][1]));
      }
    });
    const names = lines.map((line, i) => {
      const entry = make("span", { class: "chart-name" });
      if (lines.length > 1) entry.append(make("i", { class: `key tone-${i % TONES}` }));
      if (line.name !== this.name) entry.append(`${line.name.replaceAll("_", " ")} `);
      entry.append(make("b", {}, format(read[i]?.[1], share)));
      return entry;
    });
    const below = floors.map(([name, value]) => make("span", { class: "chart-name" }, `┄ ${name.replaceAll("_", " ")} ${format(value, share)}`));
    const step = make("span", { class: "chart-step" }, inside ? `step ${this.at.toLocaleString("en")}` : "");
    this.caption.replaceChildren(make("strong", {}, capital(this.name)), ...names, ...below, step);
    this.svg.setAttribute("aria-label", this.caption.textContent);
  }

  #stepAt(event) {
    const box = this.svg.getBoundingClientRect();
    const share = ((event.clientX - box.left) * this.scale.width / box.width - LEFT) / (this.scale.width - LEFT - RIGHT);
    const step = this.scale.first + Math.max(0, Math.min(1, share)) * (this.scale.last - this.scale.first);
    return nearest(this.panel.lines[0].points, step)[0];
  }

  #key(event) {
    const points = this.panel.lines[0].points;
    const now = points.indexOf(nearest(points, this.at ?? this.scale.last));
    const moves = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: points.length - 1 };
    if (event.key === "Escape") this.onPoint(null, false);
    if (!(event.key in moves)) return;
    event.preventDefault();
    this.onPoint(points[Math.max(0, Math.min(points.length - 1, moves[event.key]))][0], true);
  }

  #stepTicks() {
    const { first, last } = this.scale;
    if (first === last) return [[first, "start"]];
    const between = niceTicks(first, last, 5).filter((value) => value > first + (last - first) * 0.08 && value < last - (last - first) * 0.08);
    return [[first, "start"], ...between.map((value) => [value, "middle"]), [last, "end"]];
  }

  #x(step) {
    const { first, last, width } = this.scale;
    return round(LEFT + (last > first ? (step - first) / (last - first) : 0) * (width - LEFT - RIGHT));
  }

  #y(value) {
    const { bottom, top, height } = this.scale;
    return round(height - BOTTOM - (top > bottom ? (value - bottom) / (top - bottom) : 0.5) * (height - TOP - BOTTOM));
  }
}

/** Which lines lie under another one, for nobody sees them there. */
function equals(lines) {
  const covers = lines.map((line, i) => lines.findLast((other, k) => k > i && same(line.points, other.points)));
  const told = lines.flatMap((line, i) => (covers[i] ? [`${line.name.replaceAll("_", " ")} equals ${covers[i].name.replaceAll("_", " ")} at every step`] : []));
  return told.length ? `${capital(told.join(", "))}.` : "";
}

function same(some, others) {
  return some.length === others.length && some.every((point, i) => point.every((value, k) => value === others[i][k]));
}

/** The point whose step is next to `step`; points are in order of steps. */
function nearest(points, step) {
  let low = 0;
  let high = points.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < step) low = middle + 1;
    else high = middle;
  }
  const before = points[low - 1];
  return before && step - before[0] < points[low][0] - step ? before : points[low];
}

function niceTicks(low, high, count) {
  const span = high - low || Math.abs(high) || 1;
  const size = 10 ** Math.floor(Math.log10(span / count));
  let ticks = [low];
  // The widest step that still gives two ticks; the first candidate gives about `count`.
  for (const factor of [10, 5, 2.5, 2, 1]) {
    const step = factor * size;
    if (step < (span / count) * 0.999 && ticks.length > 1) break;
    ticks = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) ticks.push(i * step);
  }
  return ticks.length ? ticks : [low];
}

function format(value, share) {
  if (value === undefined || value === null) return "–";
  if (share) return `${(100 * value).toFixed(1)} %`;
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(2);
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(4)));
}

function tick(value, share) {
  if (share) return `${Number((100 * value).toPrecision(3))} %`;
  if (Math.abs(value) >= 1e6) return `${Number((value / 1e6).toPrecision(4))}M`;
  if (Math.abs(value) >= 1e4) return `${Number((value / 1e3).toPrecision(4))}k`;
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(1);
  return String(Number(value.toPrecision(4)));
}

function capital(words) {
  return words.charAt(0).toUpperCase() + words.slice(1).replaceAll("_", " ");
}

function round(value) {
  return Math.round(value * 10) / 10;
}

function text(x, y, anchor, words) {
  const part = makeSvg("text", { class: "chart-tick", x, y, "text-anchor": anchor });
  part.textContent = words;
  return part;
}

function make(tag, attributes = {}, words = "") {
  const part = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) part.setAttribute(name, value);
  if (words) part.textContent = words;
  return part;
}

function makeSvg(tag, attributes = {}) {
  const part = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) part.setAttribute(name, value);
  return part;
}
