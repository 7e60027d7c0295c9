// Pointer, wheel, keys, tools, and the links of the tables.

const byId = (id) => document.getElementById(id);
const searchBox = byId("search");
const pointers = new Map();
let dragged = 0;

const inCanvas = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, inCanvas(event));
  dragged = 0;
});

canvas.addEventListener("pointermove", (event) => {
  const [x, y] = inCanvas(event), last = pointers.get(event.pointerId);
  if (!last) return hover(x, y);
  const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
  if (other) {
    // Two fingers: what is under each stays under it.
    const before = Math.max(Math.abs(last[0] - other[0]), 8), after = Math.max(Math.abs(x - other[0]), 8);
    zoom(before / after, atOf(other[0]));
  } else {
    dragged += Math.abs(x - last[0]) + Math.abs(y - last[1]);
    if (dragged > 3) {
      canvas.classList.add("panning");
      unhover();
      pan((last[0] - x) / plot.width);
      if (event.pointerType === "mouse") scrollTo(view.top + last[1] - y);
    }
  }
  pointers.set(event.pointerId, [x, y]);
});

for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => {
  if (!pointers.delete(event.pointerId)) return;
  canvas.classList.remove("panning");
  if (kind === "pointerup" && dragged <= 3) select(spanAt(...inCanvas(event)));
});
canvas.addEventListener("pointerleave", unhover);
canvas.addEventListener("dblclick", (event) => {
  const [x, y] = inCanvas(event), index = spanAt(x, y);
  if (index >= 0) return showSpan(starts[index], ends[index] - starts[index]);
  const phase = y < HEAD && data.phases.find((phase) => atOf(x) >= phase.start && atOf(x) < phase.start + phase.duration);
  if (phase) showSpan(phase.start, phase.duration);
});

canvas.addEventListener("wheel", (event) => {
  const [x] = inCanvas(event), unit = event.deltaMode === 1 ? 16 : 1;
  if (event.ctrlKey || event.metaKey) {
    event.preventDefault();
    zoom(Math.exp(event.deltaY * unit * 0.004), atOf(Math.max(x, plot.left)));
  } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    event.preventDefault();
    pan(((event.deltaX || event.deltaY) * unit) / plot.width);
  } else if (scrollTo(view.top + event.deltaY * unit)) {
    // At the end of the lanes the page scrolls on.
    event.preventDefault();
  }
}, { passive: false });

const shifted = { ArrowRight: "next", ArrowLeft: "previous", ArrowUp: "outer", ArrowDown: "inner" };
const keys = {
  ArrowLeft: () => pan(-0.15), ArrowRight: () => pan(0.15), ArrowUp: () => scrollTo(view.top - 3 * ROW), ArrowDown: () => scrollTo(view.top + 3 * ROW),
  "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), Home: showWindow, End: showAll,
  n: () => nextMatch(1), N: () => nextMatch(-1),
  Enter: () => selected >= 0 && showSpan(starts[selected], ends[selected] - starts[selected]),
  Escape: () => { searchBox.value = ""; search(""); select(-1); },
};
canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.shiftKey && shifted[event.key]) step(shifted[event.key]);
  else if (keys[event.key]) keys[event.key]();
  else return;
  event.preventDefault();
});

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") searchBox.focus();
  else if (event.key === "?") toggleHelp();
  else return;
  event.preventDefault();
});

searchBox.addEventListener("input", () => search(searchBox.value));
searchBox.addEventListener("keydown", (event) => {
  if (event.key === "Enter") nextMatch(event.shiftKey ? -1 : 1);
  else if (event.key === "Escape") { keys.Escape(); canvas.focus(); }
  else return;
  event.preventDefault();
});

function toggleHelp() {
  const help = byId("help");
  help.hidden = !help.hidden;
  byId("help-button").setAttribute("aria-expanded", String(!help.hidden));
}

const clicks = {
  "zoom-in": () => zoom(0.6), "zoom-out": () => zoom(1 / 0.6), "show-window": showWindow, "show-all": showAll,
  "search-next": () => nextMatch(1), "search-previous": () => nextMatch(-1), "help-button": toggleHelp,
};
for (const [id, act] of Object.entries(clicks)) byId(id).addEventListener("click", act);

for (const [index, { title }] of groupings.entries()) byId("grouping").append(new Option(title, index));
byId("grouping").addEventListener("change", (event) => {
  view.grouping = Number(event.target.value);
  hovered = -1;
  lay();
  if (selected >= 0) reveal(selected);
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-start]");
  if (!link) return;
  showSpan(Number(link.dataset.start), Number(link.dataset.length));
  const index = spans.start.findIndex((start, index) => start === Number(link.dataset.start) && nameOf(index) === link.textContent);
  if (index >= 0) select(index);
});

const themes = ["auto", "light", "dark"];
byId("theme").addEventListener("click", (event) => {
  const next = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % themes.length];
  if (next === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = next;
  event.target.textContent = `theme: ${next}`;
  readTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readTheme);

// Print shows everything; afterwards the page is as it was.
let closed = [];
addEventListener("beforeprint", () => { closed = [...document.querySelectorAll("details:not([open])")]; for (const part of closed) part.open = true; });
addEventListener("afterprint", () => { for (const part of closed) part.open = false; });

for (const kind of kinds) {
  const entry = document.createElement("li"), swatch = document.createElement("canvas");
  swatch.width = swatch.height = 12;
  const dab = swatch.getContext("2d");
  dab.fillStyle = colourOf.get(kind);
  dab.fillRect(0, 0, 12, 12);
  entry.append(swatch, word(kind) || "unknown");
  byId("legend").append(entry);
}

document.documentElement.classList.add("with-script");
byId("instrument").hidden = byId("theme").hidden = false;
readTheme();
lay();
showWindow();
new ResizeObserver(resize).observe(canvas.parentElement);
