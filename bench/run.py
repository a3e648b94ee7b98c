#!/usr/bin/env python3
"""Measure the project beside its peers: `python bench/run.py [STAGE ...]`.

Both sides work on the same clips in one run, taking turns; the table shows medians, and the median of the ratio pair by
pair. Rows land in target/bench.json. ESC10_DIR may name a folder of ESC-10 clips with its make_archive.py; without it
the clips are synthesised.
"""
import argparse

import front_end
import harness
import live_page
import long
import notebook
import pipeline
import scale
import small
import together
import training
import transfer

# A stage is a function of the parsed arguments that measures and gives its rows.
STAGES = {
    "front_end": front_end.measure,
    "resample_quality": front_end.resample_quality,
    "pipeline": pipeline.measure,
    "training": training.measure,
    "transfer": transfer.measure,
    "small": small.measure,
    "page": live_page.measure,
    "long": long.measure,
    "together": together.measure,
    "scale": scale.measure,
    "notebook": notebook.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(STAGES)}; all when none is named")
    parser.add_argument("--rounds", type=int, default=21, help="pairs measured per row (21)")
    parser.add_argument("--clips", type=int, default=40, help="clips of 5 s per round of front_end (40)")
    arguments = parser.parse_args()
    if unknown := set(arguments.stages) - set(STAGES):
        parser.error(f"no such stage: {', '.join(sorted(unknown))}")
    print(harness.machine(), flush=True)
    for name in arguments.stages or STAGES:
        if rows := STAGES[name](arguments):
            harness.publish(rows)


if __name__ == "__main__":
    main()
