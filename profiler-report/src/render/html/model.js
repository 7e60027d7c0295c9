// The data, made ready to draw: words looked up, rows sorted for binary search. No page in here.

const data = JSON.parse(document.getElementById("data").textContent);
const spans = data.spans;
const count = spans.start.length;

const starts = Float64Array.from(spans.start);
const ends = Float64Array.from(spans.start, (start, index) => start + (spans.duration[index] ?? 0));
const word = (number) => (number === null ? "" : data.words[number]);
const nameOf = (index) => word(spans.name[index]);
const titleOf = (index) => nameOf(index) + (word(spans.subject[index]) && ` [${word(spans.subject[index])}]`);

// Linux returns errors as -4095..-1.
const failed = (index) => {
  const value = Number(spans.retval[index] ?? 0);
  return value < 0 && value >= -4095;
};

// First index of a sorted array of spans whose key is beyond `at`.
function firstBeyond(order, keys, at) {
  let low = 0, high = order.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[order[middle]] > at) high = middle; else low = middle + 1;
  }
  return low;
}

// Rows of one grouping: spans of a row are in order and never overlap, so their ends are in order too.
function rowsOf(grouping) {
  const lanes = grouping.lanes.map((lane) => ({ ...lane, rows: Array.from({ length: lane.levels }, () => []) }));
  for (let index = 0; index < count; index++) lanes[grouping.lane[index]].rows[grouping.level[index]].push(index);
  for (const lane of lanes) for (const row of lane.rows) row.sort((a, b) => starts[a] - starts[b] || ends[a] - ends[b]);
  return lanes;
}

const groupings = data.groupings.map((grouping) => ({ ...grouping, lanes: rowsOf(grouping) }));

const windowEnd = data.window ? data.window.duration : Math.max(1, ...data.phases.map((phase) => phase.start + phase.duration));
const extent = (() => {
  let low = 0, high = windowEnd;
  for (let index = 0; index < count; index++) {
    if (starts[index] < low) low = starts[index];
    if (ends[index] > high) high = ends[index];
  }
  for (const { at } of data.marks) { low = Math.min(low, at); high = Math.max(high, at); }
  for (const guest of data.guests) for (const [, from, to] of guest.rows) {
    low = Math.min(low, from ?? 0); high = Math.max(high, to ?? 0);
  }
  return [low, high];
})();

// Nanoseconds for a person; the same units as the tables.
function duration(ns) {
  const size = Math.abs(ns);
  if (size < 1e3) return `${Math.round(ns)} ns`;
  if (size < 1e6) return `${(ns / 1e3).toFixed(1)} us`;
  if (size < 1e10) return `${(ns / 1e6).toFixed(3)} ms`;
  return `${(ns / 1e9).toFixed(3)} s`;
}

// Kinds by how many spans have them, for the colours and the legend.
const kinds = (() => {
  const counts = new Map();
  for (const kind of spans.kind) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).map(([kind]) => kind);
})();
