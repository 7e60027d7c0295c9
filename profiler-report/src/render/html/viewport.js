// What part of time and of the lanes is shown.

const canvas = document.getElementById("canvas");
const rangeShown = document.getElementById("range");
const SHORTEST = 200; // ns across the whole picture
const view = { from: 0, to: 1, top: 0, grouping: 0 };
const margin = (extent[1] - extent[0]) * 0.02 + 1;

function show(from, to) {
  let length = Math.min(Math.max(to - from, SHORTEST), extent[1] - extent[0] + 2 * margin);
  const middle = (from + to) / 2;
  from = Math.min(Math.max(middle - length / 2, extent[0] - margin), extent[1] + margin - length);
  view.from = from;
  view.to = from + length;
  rangeShown.textContent = `${duration(view.from)} to ${duration(view.to)}`;
  canvas.dataset.from = view.from;
  canvas.dataset.to = view.to;
  redraw();
}
const showWindow = () => show(-windowEnd * 0.015, windowEnd * 1.015);
const showAll = () => show(extent[0] - margin, extent[1] + margin);
const zoom = (factor, at = (view.from + view.to) / 2) => show(at - (at - view.from) * factor, at + (view.to - at) * factor);
const pan = (share) => { const by = (view.to - view.from) * share; show(view.from + by, view.to + by); };
const showSpan = (from, length) => { const room = Math.max(length * 0.25, 500); show(from - room, from + length + room); };

const plot = { left: 0, width: 1, height: 1 }; // CSS pixels
const xOf = (at) => plot.left + ((at - view.from) / (view.to - view.from)) * plot.width;
const atOf = (x) => view.from + ((x - plot.left) / plot.width) * (view.to - view.from);
