// What lies under a point, what is selected, what a search finds.

const tip = document.getElementById("tip");
const panel = document.getElementById("selected");
const matchesShown = document.getElementById("matches");

// The span at a point of the canvas, or the nearest within three pixels; -1 if there is none.
function spanAt(x, y) {
  if (x < plot.left || y < HEAD) return -1;
  const item = layout.items.find((item) => item.lane && y >= yOf(item) && y < yOf(item) + item.height);
  const row = item?.lane.rows[Math.floor((y - yOf(item)) / ROW)];
  if (!row) return -1;
  const at = atOf(x), reach = ((view.to - view.from) / plot.width) * 3;
  const index = row[firstBeyond(row, ends, at - reach)];
  return index !== undefined && starts[index] <= at + reach ? index : -1;
}

const length = (index) => (spans.duration[index] === null ? "end not seen" : duration(spans.duration[index]));

function describe(x, y) {
  if (x >= plot.left && y < HEAD) {
    const at = atOf(x), reach = ((view.to - view.from) / plot.width) * 5;
    const mark = y < RULER && data.marks.find((mark) => Math.abs(mark.at - at) <= reach);
    if (mark) return `${mark.kind}: ${mark.name}\nat ${duration(mark.at)}`;
    const phase = data.phases.find((phase) => at >= phase.start && at < phase.start + phase.duration);
    return phase && `${phase.title}\n${duration(phase.duration)} \u00b1 ${duration(phase.error)}, from ${duration(phase.start)}`;
  }
  const index = spanAt(x, y);
  if (index < 0) return null;
  const own = spans.own[index] === null ? "" : `, its own ${duration(spans.own[index])}`;
  return `${titleOf(index)}\n${length(index)}${own}, from ${duration(starts[index])}`;
}

function hover(x, y) {
  const text = describe(x, y), index = spanAt(x, y);
  if (index !== hovered) { hovered = index; redraw(); }
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const right = canvas.clientWidth - tip.offsetWidth - 4;
  tip.style.left = `${Math.max(Math.min(x + 14, right), 4)}px`;
  tip.style.top = `${y + 18 + tip.offsetHeight > plot.height ? Math.max(y - tip.offsetHeight - 8, 2) : y + 18}px`;
}

function unhover() {
  tip.hidden = true;
  if (hovered >= 0) { hovered = -1; redraw(); }
}

function select(index) {
  selected = index;
  panel.replaceChildren();
  if (index < 0) {
    panel.append(Object.assign(document.createElement("p"), { className: "quiet", textContent: "Nothing is selected." }));
    return redraw();
  }
  const phase = spans.phase[index] === null ? "before the window" : data.phases[spans.phase[index]].title;
  const task = [word(spans.comm[index]), spans.pid[index]].filter((part) => part !== "" && part !== null).join(" ");
  const facts = [
    ["time", length(index)], ["its own", spans.own[index] === null ? "unknown" : duration(spans.own[index])],
    ["from", duration(starts[index])], ["phase", phase], ["kind", word(spans.kind[index])], ["task", task || "unknown"],
    ["CPU", spans.cpu[index] ?? "unknown"], ["returned", spans.retval[index] ?? "unknown"],
    ["on the phase's critical chain", spans.critical[index] ? "yes" : "no"],
  ];
  const list = document.createElement("dl");
  for (const [name, value] of facts) {
    const pair = document.createElement("div");
    pair.append(Object.assign(document.createElement("dt"), { textContent: name }), Object.assign(document.createElement("dd"), { textContent: value }));
    list.append(pair);
  }
  panel.append(Object.assign(document.createElement("h3"), { textContent: titleOf(index) }), list);
  reveal(index);
}

// Scrolls lanes and time so that a span is in sight; zooms only if it would be too small to see.
function reveal(index) {
  const y = placeOf(index);
  if (y < view.top || y + ROW > view.top + plot.height - HEAD) scrollTo(y - (plot.height - HEAD) / 2);
  const from = starts[index], to = ends[index], shown = view.to - view.from;
  if (from > view.to || to < view.from) show(from - shown / 2, from + shown / 2);
  // Where it is drawn, for those who drive the page.
  canvas.dataset.row = HEAD + placeOf(index) - view.top + ROW / 2;
  redraw();
}

// The neighbour of the selected span in its row, or the span around or inside it.
function step(direction) {
  const grouping = groupings[view.grouping];
  if (selected < 0) {
    const middle = (view.from + view.to) / 2;
    const rows = grouping.lanes.flatMap((lane) => lane.rows);
    const nearest = rows.map((row) => row[firstBeyond(row, ends, middle)]).filter((index) => index !== undefined);
    nearest.sort((a, b) => Math.abs(starts[a] - middle) - Math.abs(starts[b] - middle));
    return nearest.length ? select(nearest[0]) : undefined;
  }
  const rows = grouping.lanes[grouping.lane[selected]].rows, level = grouping.level[selected];
  let next;
  if (direction === "next" || direction === "previous") {
    next = rows[level][rows[level].indexOf(selected) + (direction === "next" ? 1 : -1)];
  } else if (direction === "outer") {
    const row = rows[level - 1];
    next = row?.[firstBeyond(row, ends, starts[selected])];
    if (next !== undefined && starts[next] > starts[selected]) next = undefined;
  } else {
    const row = rows[level + 1];
    next = row?.[firstBeyond(row, ends, starts[selected])];
    if (next !== undefined && starts[next] >= ends[selected]) next = undefined;
  }
  if (next !== undefined) select(next);
}

function search(text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) {
    matched = null;
    matchesShown.textContent = "";
    return redraw();
  }
  // Each word is looked at once, however many spans have it.
  const hits = data.words.map((word) => word.toLowerCase().includes(wanted));
  const has = new Uint8Array(count), list = [];
  for (let index = 0; index < count; index++) {
    if (hits[spans.name[index]] || hits[spans.subject[index]] || hits[spans.kind[index]] || (spans.comm[index] !== null && hits[spans.comm[index]])) {
      has[index] = 1;
      list.push(index);
    }
  }
  list.sort((a, b) => starts[a] - starts[b]);
  matched = { has, list, at: -1 };
  matchesShown.textContent = `${list.length} of ${count}`;
  redraw();
}

function nextMatch(by) {
  if (!matched?.list.length) return;
  const total = matched.list.length;
  matched.at = matched.at < 0 && by < 0 ? total - 1 : (matched.at + by + total) % total;
  matchesShown.textContent = `${matched.at + 1} of ${total}`;
  const index = matched.list[matched.at];
  const pixels = ((ends[index] - starts[index]) / (view.to - view.from)) * plot.width;
  if (pixels < 4) showSpan(starts[index], Math.max(ends[index] - starts[index], 1e3) * 4);
  select(index);
}
