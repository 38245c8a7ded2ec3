"""Makes events.out.tfevents.golden with TensorBoard's own record writer (pip install tensorboard==2.20.0)."""

import pathlib

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

out = pathlib.Path(__file__).with_name("events.out.tfevents.golden")
with out.open("wb") as file:
    records = RecordWriter(file)

    def write(**fields):
        records.write(event_pb2.Event(**fields).SerializeToString())

    def summary(*values):
        return summary_pb2.Summary(
            value=[summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in values]
        )

    write(wall_time=1_700_000_000.0, file_version="brain.Event:2")
    write(wall_time=1_700_000_001.5, step=0, summary=summary(("loss/dice", 0.25), ("rate", -3.5)))
    write(wall_time=1_700_000_002.0, step=300, summary=summary(("loss/dice", 0.25)))
