// Checks a Chrome export with the trace engine of Chrome's DevTools: devtools.mjs TRACE REPORT.json
// Needs `npm install @paulirish/trace_engine`, which is that engine.
import assert from 'node:assert';
import fs from 'node:fs';
import * as Trace from '@paulirish/trace_engine';

// The engine is a browser's.
globalThis.DOMRect ??= class {};

const [trace, report] = process.argv.slice(2, 4).map((path) => JSON.parse(fs.readFileSync(path)));
const model = Trace.TraceModel.Model.createWithAllHandlers();
await model.parse(trace.traceEvents);
const { processes } = model.parsedTrace().data.Renderer;

// What it draws: a thread's entries as trees. An event that does not nest is left out of them.
const drawn = (nodes) => [...nodes].flatMap((node) => [node.entry, ...drawn(node.children)]);
const threads = [...processes.values()].flatMap((process) => [...process.threads.values()]);
const entries = threads.flatMap((thread) => drawn(thread.tree?.roots ?? []));
const phases = entries.filter((entry) => entry.cat === 'phase');
const slices = trace.traceEvents.filter((event) => event.ph === 'X').length;
assert.equal(entries.length, slices);
const length = (phase) => [phase.name, Math.round(phase.dur * 1e3)];
assert.deepEqual(phases.map(length).sort(), report.phases.map((phase) => [phase.title, phase.duration_ns]).sort());
console.log(`DevTools: ${entries.length} slices, ${phases.length} phases, ${processes.size} processes`);
