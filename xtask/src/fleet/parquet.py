"""parquet.py DOCS DATA ANSWERS: asks DuckDB and DataFusion the questions of DOCS (```sql blocks that begin with
-- NAME) over the Parquet files in the folder DATA, and compares with ANSWERS. Readers are DuckDB's own, the Rust one of
DataFusion, and pyarrow's (C++), which counts rows and checks types and sums."""

import glob
import json
import os
import re
import sys
import time

import datafusion
import duckdb
import pyarrow.compute as pc
import pyarrow.parquet as pq

docs, data, answers = sys.argv[1:]
answers = json.load(open(answers))
files = sorted(glob.glob(data + "/*.parquet"))
questions = dict(re.findall(r"```sql\n-- (\w+)\n(.*?);?\n```", open(docs).read(), re.S))
assert set(questions) == {"p99", "device", "regressed", "phases"}, questions.keys()
size = sum(os.path.getsize(name) for name in files)
print(f"{answers['updates']} live updates, {answers['rows']} rows, {size / 1e6:.0f} MB in {len(files)} files, "
      f"{size / answers['updates']:.0f} bytes each")


def same(found, expected):
    if isinstance(expected, float):
        return abs(float(found) - expected) <= 1e-6 * max(1.0, abs(expected))
    return found == expected


def compare(engine, name, rows, seconds):
    expected = answers[name]
    assert len(rows) == len(expected) > 0, (engine, name, len(rows), len(expected))
    for row, wanted in zip(rows, expected):
        assert all(same(*pair) for pair in zip(row, wanted, strict=True)), (engine, name, row, wanted)
    print(f"{engine:<10} {name:<9} {len(rows):>6} rows as documented  {seconds:6.2f} s")


duck = duckdb.connect(config={"threads": 2})
duck.execute(f"CREATE VIEW t AS SELECT * FROM '{data}/*.parquet'")
fusion = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(2))
fusion.register_parquet("t", data)
for name, sql in questions.items():
    started = time.monotonic()
    rows = duck.execute(sql).fetchall()
    compare("DuckDB", name, rows, time.monotonic() - started)
for name, sql in questions.items():
    started = time.monotonic()
    rows = [tuple(row.values()) for batch in fusion.sql(sql).collect() for row in batch.to_pylist()]
    compare("DataFusion", name, rows, time.monotonic() - started)

started = time.monotonic()
rows = sum(pq.read_metadata(name).num_rows for name in files)
assert rows == answers["rows"], (rows, answers["rows"])
schema = pq.read_schema(files[0])
documented = re.findall(r"^\| `(\w+)` \| (string|int32|int64|boolean|timestamp)", open(docs).read(), re.M)
types = [(field.name, {"bool": "boolean", "timestamp[us, tz=UTC]": "timestamp"}.get(str(field.type), str(field.type)))
         for field in schema]
assert types == documented, [pair for pair in zip(types, documented) if pair[0] != pair[1]]
updates = total = 0
for name in files:
    table = pq.read_table(name, columns=["record", "outcome", "window_ns"], filters=[("record", "=", "update")])
    updates += table.num_rows
    total += pc.sum(table["window_ns"]).as_py()
assert updates == answers["updates"], updates
(duck_total,) = duck.execute("SELECT sum(window_ns) FROM t WHERE record = 'update'").fetchone()
assert total == duck_total, (total, duck_total)
print(f"pyarrow    rows, types and sums as the others            {time.monotonic() - started:6.2f} s")
