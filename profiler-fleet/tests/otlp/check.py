"""check.py BLACKOUT FIXTURES STATE VICTORIA: `blackout push` against a receiver that decodes with the official protos,
and against that of VictoriaMetrics at the address VICTORIA (started with -opentelemetry.usePrometheusNaming). The
collector is away at first, and the pushing process is killed meanwhile."""

import gzip
import http.server
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

blackout, fixtures, state, victoria = sys.argv[1:]
recordings = [os.path.join(fixtures, name + ".blackout") for name in ("plain", "stamped", "other-kernel")]
traces, metrics = [], []


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Content-Type"] == "application/x-protobuf"
        if self.path == "/v1/traces":
            traces.append(ExportTraceServiceRequest.FromString(body))
        elif self.path == "/v1/metrics":
            metrics.append(ExportMetricsServiceRequest.FromString(body))
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200 if self.path in ("/v1/traces", "/v1/metrics") else 404)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def until(reached, what):
    """Waits for an event. Looks are counted and not time: a machine that is busy or stopped makes fewer of them."""
    for _ in range(3000):
        if reached():
            return
        time.sleep(0.2)
    sys.exit(f"never: {what}")


def push(url, *more, state=state):
    command = [blackout, "push", "--otlp", url, "--state", state, *more]
    return subprocess.run(command, capture_output=True, text=True)


# Away: one push is killed while it tries again, one gives up. Nothing is lost, nothing comes.
away = socket.create_server(("127.0.0.1", 0))
port = away.getsockname()[1]
url = f"http://127.0.0.1:{port}"
killed = subprocess.Popen([blackout, "push", "--otlp", url, "--retry-for", "86400", "--state", state, *recordings[:2]])
for _ in range(2):
    connection, _ = away.accept()
    # Reset on close: no answer at all.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
assert killed.poll() is None, "it tries again"
killed.send_signal(signal.SIGKILL)
killed.wait()
away.close()
given_up = push(url, "--retry-for", "1", *recordings)
assert given_up.returncode == 1 and "4 waiting" in given_up.stderr, given_up.stderr
# Back, on the same port; the recordings are not even given any more.
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
delivered = push(url)
assert delivered.returncode == 0 and "4 requests delivered, 0 waiting" in delivered.stderr, delivered.stderr
again = push(url, *recordings)
assert "0 new, 0 requests delivered" in again.stderr, again.stderr
print("collector away, process killed: delivered later, once")

spans = [span for request in traces for resource in request.resource_spans for scope in resource.scope_spans
         for span in scope.spans]
assert len({(span.trace_id, span.span_id) for span in spans}) == len(spans), "a span came twice"
for recording in recordings:
    report = json.loads(subprocess.check_output([blackout, "report", "--format", "json", recording]))
    run = [span for span in spans if not span.parent_span_id
           and any(a.key == "blackout.run" and a.value.string_value == report["run"]["id"] for a in span.attributes)]
    assert len(run) == 1, recording
    mine = [span for span in spans if span.trace_id == run[0].trace_id]
    by_parent = {}
    for span in mine:
        by_parent.setdefault(span.parent_span_id, []).append(span)
    origin = report["clock"]["origin_unix_ns"]

    def check(span, start_ns, duration_ns):
        assert span.start_time_unix_nano - origin == start_ns, (recording, span.name)
        assert span.end_time_unix_nano - span.start_time_unix_nano == (duration_ns or 0), (recording, span.name)

    def tree(parent, expected):
        found = by_parent.get(parent, [])
        assert [span.name for span in found] == [span["name"] for span in expected], (recording, expected)
        for span, wanted in zip(found, expected):
            check(span, wanted["start_ns"], wanted["duration_ns"])
            tree(span.span_id, wanted["spans"])

    (window,) = [span for span in mine if span.name == "blackout window"]
    assert window.parent_span_id == run[0].span_id
    check(window, 0, report["window"]["duration_ns"])
    phases = by_parent[window.span_id]
    assert [span.name for span in phases] == [phase["title"] for phase in report["phases"]]
    for span, phase in zip(phases, report["phases"]):
        check(span, phase["start_ns"], phase["duration_ns"])
        tree(span.span_id, phase["spans"])
    assert sum(span.end_time_unix_nano - span.start_time_unix_nano for span in phases) == report["window"]["duration_ns"]
    kernels = {a.value.string_value for span in phases for a in span.attributes if a.key == "blackout.kernel"}
    assert kernels == {"outgoing", "jump", "incoming"}
    print(f"{os.path.basename(recording)}: {len(mine)} spans, {len(phases)} phases, as the report has them")

(request,) = metrics
points = {metric.name: metric for resource in request.resource_metrics for scope in resource.scope_metrics
          for metric in scope.metrics}
assert sum(point.as_int for point in points["blackout.updates"].sum.data_points) == len(recordings)
assert sum(point.count for point in points["blackout.windows"].exponential_histogram.data_points) == len(recordings)


def query(expr):
    # What came a moment ago counts already.
    query = urllib.parse.urlencode({"query": expr, "latency_offset": "1ms"})
    samples = json.load(urllib.request.urlopen(f"{victoria}/api/v1/query?{query}"))["data"]["result"]
    return [float(sample["value"][1]) for sample in samples]


def number(expr):
    (value,) = query(expr)
    return value


def all_there():
    urllib.request.urlopen(f"{victoria}/internal/force_flush").read()
    return query("sum(blackout_updates_total)") == [len(recordings)]


# It takes no traces. For it the host has a queue of its own.
own = state + "-victoria"
for _ in range(2):
    pushed = push(victoria + "/opentelemetry", "--only", "metrics", *recordings, state=own)
    assert pushed.returncode == 0 and " 0 waiting" in pushed.stderr, pushed.stderr
until(all_there, f"{len(recordings)} live updates in VictoriaMetrics")
reports = [json.loads(subprocess.check_output([blackout, "report", "--format", "json", r])) for r in recordings]
lengths = sorted(report["window"]["duration_ns"] / 1e9 for report in reports)
assert number("sum(blackout_windows_seconds_count)") == len(recordings)
assert abs(number("sum(blackout_windows_seconds_sum)") - sum(lengths)) < 1e-6
median = number("histogram_quantile(0.5, sum by (vmrange) (blackout_windows_seconds_bucket))")
assert abs(median / lengths[1] - 1) < 0.05, (median, lengths)
print(f"VictoriaMetrics: {len(recordings)} live updates, median {median:.3f} s of {lengths[1]:.3f} s, pushed twice, there once")
