// The picture. One frame touches each row by binary search and draws at most one thing a pixel.

const pen = canvas.getContext("2d");
const ROW = 17, LANE_GAP = 5, RULER = 22, BAND = 26, GROUP = 22, GUEST_ROW = 16;
const HEAD = RULER + BAND;
// Okabe and Ito's colours, which every kind of colour vision tells apart; text on them is dark.
const COLOURS = ["#56b4e9", "#e69f00", "#2bb58c", "#f0e442", "#d98cb5", "#e8804a", "#9aa8ff", "#b0b0b0"];
const colourOf = new Map(kinds.map((kind, index) => [kind, COLOURS[Math.min(index, COLOURS.length - 1)]]));

let theme = {};
let layout = { items: [], height: 0 };
let selected = -1, hovered = -1, matched = null;
let dirty = false;

function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const names = ["panel", "ink", "quiet", "line", "grid", "outgoing", "outgoing-2", "incoming", "incoming-2", "jump", "jump-ink",
    "unobserved", "guest", "guest-ink", "shade", "bar-ink", "select", "flow", "bad"];
  theme = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  redraw();
}

// What is below the head, from top to bottom, with where each lies.
function lay() {
  const items = [];
  let y = 4;
  const put = (item, height) => { items.push({ ...item, y, height }); y += height; };
  for (const guest of data.guests) guest.rows.forEach((row, index) => put({ guest: row, own: index === 0, status: guest.status }, GUEST_ROW));
  if (data.guests.length) y += LANE_GAP;
  let kernel = "";
  for (const lane of groupings[view.grouping].lanes) {
    if (lane.kernel !== kernel) { kernel = lane.kernel; put({ group: `${kernel} kernel` }, GROUP); }
    put({ lane }, lane.rows.length * ROW);
    y += LANE_GAP;
  }
  layout = { items, height: y + 4 };
  resize();
}

function resize() {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.parentElement.clientWidth;
  plot.left = Math.min(150, width * 0.24);
  plot.width = Math.max(width - plot.left - 6, 10);
  plot.height = Math.max(Math.min(layout.height + HEAD, Math.max(window.innerHeight * 0.72, 260)), 160);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(plot.height * ratio);
  canvas.style.height = `${plot.height}px`;
  scrollTo(view.top);
}

// Keeps the lanes in reach; tells whether that moved anything.
function scrollTo(top) {
  const before = view.top;
  view.top = Math.min(Math.max(top, 0), Math.max(layout.height + HEAD - plot.height, 0));
  redraw();
  return view.top !== before;
}

function redraw() {
  if (dirty) return;
  dirty = true;
  requestAnimationFrame(() => { dirty = false; draw(); });
}

function draw() {
  const ratio = window.devicePixelRatio || 1;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.font = "11px system-ui, 'DejaVu Sans', sans-serif";
  pen.textBaseline = "middle";
  pen.fillStyle = theme.panel;
  pen.fillRect(0, 0, plot.left + plot.width + 6, plot.height);
  pen.save();
  pen.beginPath();
  pen.rect(0, HEAD, plot.left + plot.width + 6, plot.height - HEAD);
  pen.clip();
  background();
  clipPlot(HEAD, plot.height - HEAD, lanes);
  labels();
  pen.restore();
  clipPlot(0, plot.height, head);
  scrollbar();
}

function clipPlot(y, height, paint) {
  pen.save();
  pen.beginPath();
  pen.rect(plot.left, y, plot.width, height);
  pen.clip();
  paint();
  pen.restore();
}

// Steps of 1, 2 or 5 times a power of ten, some 100 pixels apart.
function ticks() {
  const raw = ((view.to - view.from) / plot.width) * 100;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
  const list = [];
  for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) list.push(at);
  return { list, step };
}

function tickLabel(at, step) {
  const [unit, name] = step >= 1e9 ? [1e9, "s"] : step >= 1e6 ? [1e6, "ms"] : step >= 1e3 ? [1e3, "us"] : [1, "ns"];
  return `${(Math.round(at / unit) + 0).toLocaleString("en", { maximumFractionDigits: 0, useGrouping: false })} ${name}`;
}

function background() {
  pen.fillStyle = theme.shade;
  for (const [from, to] of [[-Infinity, 0], [windowEnd, Infinity], ...data.phases.filter((p) => p.kernel === "jump").map((p) => [p.start, p.start + p.duration])]) {
    const left = Math.max(from === -Infinity ? plot.left : xOf(from), plot.left);
    const right = Math.min(to === Infinity ? plot.left + plot.width : xOf(to), plot.left + plot.width);
    if (right > left) pen.fillRect(left, HEAD, right - left, plot.height);
  }
  pen.fillStyle = theme.grid;
  for (const at of ticks().list) { const x = xOf(at); if (x >= plot.left) pen.fillRect(Math.round(x), HEAD, 1, plot.height); }
  pen.fillStyle = theme.line;
  let last = -9;
  for (const phase of data.phases) {
    const x = Math.round(xOf(phase.start));
    if (x >= plot.left && x - last > 2) { pen.fillRect(x, HEAD, 1, plot.height); last = x; }
  }
}

function head() {
  pen.fillStyle = theme.panel;
  pen.fillRect(plot.left, 0, plot.width, HEAD);
  const { list, step } = ticks();
  for (const at of list) {
    const x = Math.round(xOf(at));
    pen.fillStyle = theme.line;
    pen.fillRect(x, RULER - 6, 1, 6);
    pen.fillStyle = theme.quiet;
    pen.fillText(tickLabel(at, step), x + 3, RULER / 2);
  }
  let last = -1;
  data.phases.forEach((phase, index) => {
    const left = Math.max(xOf(phase.start), plot.left - 1), right = Math.min(xOf(phase.start + phase.duration), plot.left + plot.width + 1);
    if (right < plot.left || left > plot.left + plot.width || right - last < 0.5) return;
    last = right;
    const unobserved = phase.id === "unobserved";
    pen.fillStyle = unobserved ? theme.unobserved : theme[phase.kernel === "jump" ? "jump" : phase.kernel + (index % 2 ? "-2" : "")];
    pen.fillRect(left, RULER, Math.max(right - left, 1), BAND - 2);
    if (unobserved || phase.kernel === "jump") hatch(left, RULER, right - left, BAND - 2);
    pen.fillStyle = phase.kernel === "jump" ? theme["jump-ink"] : unobserved ? theme.ink : theme["bar-ink"];
    const text = `${phase.title}  ${duration(phase.duration)}`;
    write(text, left + 5, RULER + BAND / 2 - 1, right - left - 8);
  });
  pen.textAlign = "left";
  let markEnd = -9;
  for (const { name, kind, at } of data.marks) {
    const x = xOf(at);
    if (x < plot.left || x - markEnd < 1) continue;
    markEnd = x;
    pen.fillStyle = kind === "failure" ? theme.bad : theme.ink;
    pen.beginPath();
    pen.moveTo(x, RULER + 1); pen.lineTo(x - 5, RULER - 7); pen.lineTo(x + 5, RULER - 7);
    pen.fill();
  }
}

function hatch(left, top, width, height) {
  pen.save();
  pen.beginPath();
  pen.rect(left, top, width, height);
  pen.clip();
  pen.strokeStyle = theme.shade;
  pen.lineWidth = 2;
  pen.beginPath();
  for (let x = left - height - (left % 8); x < left + width; x += 8) { pen.moveTo(x, top + height); pen.lineTo(x + height, top); }
  pen.stroke();
  pen.restore();
}

// Text cut to a width; the mean width of a character is near enough for what is cut.
function write(text, x, y, room) {
  if (room < 14) return;
  const fits = Math.floor(room / 6.1);
  if (text.length > fits && pen.measureText(text.slice(0, 400)).width > room) text = fits < 3 ? "" : `${text.slice(0, fits - 1)}\u2026`;
  pen.fillText(text, x, y);
}

const yOf = (item) => HEAD + item.y - view.top;
const visible = (item) => yOf(item) < plot.height && yOf(item) + item.height > HEAD;

function lanes() {
  for (const item of layout.items.filter(visible)) {
    if (item.guest) guestRow(item);
    if (item.lane) item.lane.rows.forEach((row, level) => spanRow(row, yOf(item) + level * ROW));
  }
  flow();
  for (const index of [hovered, selected]) if (index >= 0) outline(index, index === selected ? 2 : 1);
}

function guestRow(item) {
  const [, from, to] = item.guest;
  if (from === null && to === null) return;
  const left = xOf(from ?? extent[0]), right = xOf(to ?? extent[1]);
  pen.fillStyle = theme.guest;
  pen.globalAlpha = item.own ? 1 : 0.6;
  pen.fillRect(left, yOf(item) + 1, Math.max(right - left, 1.5), GUEST_ROW - 3);
  pen.globalAlpha = 1;
  pen.fillStyle = item.own ? theme["guest-ink"] : theme.ink;
  const text = from === null || to === null ? item.status : `${item.own ? "dark" : "paused"} ${duration(to - from)}`;
  const start = Math.max(left, plot.left);
  write(text, start + 5, yOf(item) + GUEST_ROW / 2, right - start - 8);
}

function spanRow(row, y) {
  const right = plot.left + plot.width, perPixel = (view.to - view.from) / plot.width;
  // The first span that ends in sight, or a point of no length at the left border.
  let at = firstBeyond(row, ends, view.from - perPixel);
  while (at < row.length) {
    const index = row[at];
    const left = xOf(starts[index]);
    if (left > right) break;
    const width = Math.max(xOf(ends[index]) - left, 1);
    span(index, left, y, width);
    // What ends within this pixel would be drawn over it.
    at = width <= 1 ? Math.max(firstBeyond(row, ends, starts[index] + perPixel), at + 1) : at + 1;
  }
}

function span(index, left, y, width) {
  const dim = matched && !matched.has[index];
  pen.globalAlpha = dim ? 0.25 : 1;
  pen.fillStyle = colourOf.get(spans.kind[index]);
  if (spans.duration[index] === null) {
    // Its end was not seen: a flag.
    pen.beginPath();
    pen.moveTo(left, y + 1); pen.lineTo(left + 7, y + 5); pen.lineTo(left + 1.5, y + 9); pen.lineTo(left + 1.5, y + ROW - 2); pen.lineTo(left, y + ROW - 2);
    pen.fill();
  } else {
    pen.fillRect(left, y + 1, width > 3 ? width - 0.5 : width, ROW - 3);
    if (spans.critical[index] && width > 2) { pen.fillStyle = theme.ink; pen.fillRect(left, y + ROW - 3, width - 0.5, 1.5); }
    if (failed(index)) { pen.fillStyle = theme.bad; pen.fillRect(left, y + 1, Math.min(Math.max(width, 2), 4), ROW - 3); }
    if (width > 22) {
      const start = Math.max(left, plot.left);
      pen.fillStyle = "#14161a";
      write(titleOf(index), start + 5, y + ROW / 2, left + width - start - 8);
    }
  }
  pen.globalAlpha = 1;
}

function placeOf(index) {
  const grouping = groupings[view.grouping];
  const item = layout.items.find((item) => item.lane === grouping.lanes[grouping.lane[index]]);
  return item.y + grouping.level[index] * ROW;
}

function outline(index, width) {
  const left = xOf(starts[index]), y = HEAD + placeOf(index) - view.top;
  pen.strokeStyle = theme.select;
  pen.lineWidth = width;
  pen.strokeRect(left - 0.5, y + 0.5, Math.max(xOf(ends[index]) - left, 2) + 1, ROW - 2);
}

// From the outgoing kernel's last span, through the dark, to the incoming kernel's first.
const flowEnds = (() => {
  const dark = data.phases.filter((phase) => phase.kernel === "jump");
  const before = data.phases.some((phase) => phase.kernel === "outgoing"), after = data.phases.some((phase) => phase.kernel === "incoming");
  if (!dark.length || !before || !after) return null;
  const from = dark[0].start, to = dark[dark.length - 1].start + dark[dark.length - 1].duration;
  let last = -1, first = -1;
  const lanes = groupings[0].lanes;
  for (let index = 0; index < count; index++) {
    const outgoing = lanes[groupings[0].lane[index]].kernel === "outgoing";
    if (outgoing && (last < 0 || starts[index] > starts[last])) last = index;
    if (!outgoing && starts[index] >= 0 && (first < 0 || starts[index] < starts[first])) first = index;
  }
  return last < 0 || first < 0 ? null : { from, to, last, first };
})();

function flow() {
  if (!flowEnds) return;
  const { from, to, last, first } = flowEnds;
  const x0 = xOf(from), y0 = HEAD + placeOf(last) - view.top + ROW / 2, x1 = xOf(to), y1 = HEAD + placeOf(first) - view.top + ROW / 2;
  if (x1 < plot.left || x0 > plot.left + plot.width || x1 - x0 < 12) return;
  const bend = (x1 - x0) * 0.45;
  pen.strokeStyle = pen.fillStyle = theme.flow;
  pen.lineWidth = 1.5;
  pen.setLineDash([6, 4]);
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.bezierCurveTo(x0 + bend, y0, x1 - bend, y1, x1 - 6, y1);
  pen.stroke();
  pen.setLineDash([]);
  pen.beginPath();
  pen.moveTo(x1, y1); pen.lineTo(x1 - 8, y1 - 4); pen.lineTo(x1 - 8, y1 + 4);
  pen.fill();
  const text = `dark ${duration(to - from)}`, width = pen.measureText(text).width + 10, x = (x0 + x1) / 2, y = (y0 + y1) / 2;
  if (width < x1 - x0) {
    pen.fillStyle = theme.panel;
    pen.fillRect(x - width / 2, y - 9, width, 18);
    pen.fillStyle = theme.flow;
    pen.fillText(text, x - width / 2 + 5, y);
  }
}

function labels() {
  for (const item of layout.items.filter(visible)) {
    const y = yOf(item);
    pen.fillStyle = theme.quiet;
    if (item.group) {
      pen.fillStyle = theme.line;
      pen.fillRect(0, y + GROUP - 4, plot.left + plot.width + 6, 1);
      pen.font = "600 11px system-ui, 'DejaVu Sans', sans-serif";
      pen.fillStyle = theme.ink;
      write(item.group, 8, y + GROUP / 2 - 2, plot.left);
      pen.font = "11px system-ui, 'DejaVu Sans', sans-serif";
    } else if (item.lane) {
      write(item.lane.title, 8, y + ROW / 2, plot.left - 12);
    } else {
      pen.fillStyle = item.own ? theme.ink : theme.quiet;
      write(item.guest[0], item.own ? 8 : 18, y + GUEST_ROW / 2, plot.left - (item.own ? 12 : 22));
    }
  }
}

function scrollbar() {
  const shown = plot.height - HEAD;
  if (layout.height <= shown) return;
  pen.fillStyle = theme.line;
  pen.fillRect(plot.left + plot.width + 1, HEAD + (view.top / layout.height) * shown, 4, (shown / layout.height) * shown);
}
