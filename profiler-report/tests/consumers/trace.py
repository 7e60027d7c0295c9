#!/usr/bin/env python3
"""Checks a Perfetto export with Perfetto's own code: trace.py TRACE REPORT.json

TRACE is `blackout report --format perfetto`, REPORT.json `--format json` of the same recording. Needs
`pip install perfetto`. Its trace_processor is fetched by that package at first use; where it cannot be had
(or with --protos) the trace is read with Perfetto's official protos instead, strictly: no unknown field,
every slice ended, slices nested, no track without descriptor.
"""
import json
import sys


def spans(report):
    todo = list(report["brownout"]) + [span for phase in report["phases"] for span in phase["spans"]]
    while todo:
        span = todo.pop()
        todo += span["spans"]
        yield span


def with_trace_processor(path):
    from perfetto.trace_processor import TraceProcessor

    processor = TraceProcessor(trace=path)
    rows = lambda sql: [tuple(row.__dict__.values()) for row in processor.query(sql)]
    errors = rows("select name, value from stats where severity in ('error', 'data_loss') and value > 0")
    slices = [(row.name, row.category, row.ts, row.dur) for row in processor.query("select * from slice")]
    processes = [row.name for row in processor.query("select name from process where name is not null")]
    flows = len(rows("select id from flow"))
    counters = rows("select name from counter_track")
    return errors, slices, processes, flows, len(counters)


def with_protos(path):
    from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as protos
    from google.protobuf import unknown_fields

    def unknown(message, at):
        found = [f"{at}: field {field.field_number}" for field in unknown_fields.UnknownFieldSet(message)]
        for field, value in message.ListFields():
            if field.message_type is None:
                continue
            for inner in value if hasattr(value, "append") or hasattr(value, "add") else [value]:
                found += unknown(inner, f"{at}.{field.name}")
        return found

    trace = protos.Trace()
    trace.ParseFromString(open(path, "rb").read())
    errors, tracks, open_slices, slices, flows, last = unknown(trace, "trace"), {}, {}, [], {}, 0
    event = protos.TrackEvent
    for packet in trace.packet:
        if packet.HasField("track_descriptor"):
            tracks[packet.track_descriptor.uuid] = packet.track_descriptor
        if not packet.HasField("track_event"):
            continue
        this, now = packet.track_event, packet.timestamp
        if now < last:
            errors.append(f"time goes back at {now}")
        last = now
        track = tracks.get(this.track_uuid)
        if track is None:
            errors.append(f"no descriptor of track {this.track_uuid}")
            continue
        if track.parent_uuid not in tracks:
            errors.append(f"track {track.name} belongs to no process")
        stack = open_slices.setdefault(this.track_uuid, [])
        if this.type == event.TYPE_SLICE_BEGIN:
            stack.append((this, now))
        elif this.type == event.TYPE_SLICE_END:
            if not stack:
                errors.append(f"an end without a slice on {track.name} at {now}")
                continue
            begun, at = stack.pop()
            slices.append((begun.name, begun.categories[0], at, now - at))
        elif this.type == event.TYPE_INSTANT:
            slices.append((this.name, this.categories[0], now, 0))
        elif not track.HasField("counter"):
            errors.append(f"a counter's value on {track.name}")
        for flow in list(this.flow_ids) + list(this.terminating_flow_ids):
            flows[flow] = flows.get(flow, 0) + 1
    errors += [f"{slice[0].name} never ends" for stack in open_slices.values() for slice in stack]
    processes = [track.process.process_name for track in tracks.values() if track.HasField("process")]
    arrows = sum(steps - 1 for steps in flows.values())
    return errors, slices, processes, arrows, sum(track.HasField("counter") for track in tracks.values())


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--protos"]
    trace, report = arguments[0], json.load(open(arguments[1]))
    reader, result = "trace_processor", None
    if "--protos" not in sys.argv:
        try:
            result = with_trace_processor(trace)
        except Exception as why:  # whatever its download or start raises
            print(f"no trace_processor ({type(why).__name__}): reading with the official protos", file=sys.stderr)
    if result is None:
        reader, result = "official protos", with_protos(trace)
    errors, slices, processes, flows, counters = result
    seen = sorted((name, length) for name, category, _, length in slices if category == "phase")
    expected = sorted((phase["title"], phase["duration_ns"]) for phase in report["phases"])
    total = len(list(spans(report)))
    of_spans = sum(category not in ("phase", "window", "guest", "loss", "failure", "mark") for _, category, _, _ in slices)
    print(f"{reader}: {len(slices)} slices, {of_spans} of {total} spans, {len(seen)} phases, "
          f"{len(processes)} processes {processes}, {flows} flow arrows, {counters} counters, {len(errors)} errors")
    assert not errors, errors[:10]
    assert seen == expected, "phases differ from the report's"
    assert of_spans == total, "spans are missing"
    kernels = {kernel for kernel in ("outgoing", "incoming") if report[kernel]}
    assert kernels <= {name.split()[0] for name in processes}


main()
