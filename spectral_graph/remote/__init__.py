"""Runs that are kept behind a URL: an object store, or another place that fsspec reaches.

The memory-mapped banks need a local disk, so the stages work in a local folder (`io/url.py`), and the files of a stage
are published when the stage is complete.

    store.py        reads and writes objects, many at once
    stage_files.py  the stage that writes a file, and the stages that read it
    published.py    the state that a reader meets, and the order in which it is written
    sync_state.py   the local folder's knowledge of the URL
    sync.py         brings the local folder and the URL to the same state; `spectral-graph info URL`
"""
