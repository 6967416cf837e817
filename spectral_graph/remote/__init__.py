"""Runs that are kept behind a URL: an object store, or whatever else fsspec reaches.

The memory-mapped banks need a local disk, so the work is done in a local folder, and what a stage leaves there is
published when the stage is complete.

    url.py        what is a URL, and which local folder stands for it
    store.py      reading and writing objects, errors in words
    index.py      the list of a published run's files, with sizes and checksums
    parts.py      which stage writes, and which reads, which files
    published.py  the state that a reader meets, and writing it in the right order
    sync_state.py    what the local folder knows about the URL
    transfer.py   many files at once, with progress
    sync.py     the local folder and the URL brought to the same state
    describe.py   `spectral-graph info URL`
"""
