"""Stage `segment`: K-means on the orthogonal banks and on the final features, for every seed."""

from __future__ import annotations

from spectral_graph.segment.kmeans import assign, fit_kmeans
from spectral_graph.segment.store import RegionStore
from spectral_graph.stages.context import Context, table_of
from spectral_graph.stages.label_checks import cluster_count
from spectral_graph.stages.methods import clustered_rows, methods_of


def segment(context: Context) -> None:
    """Write `regions.zarr`."""
    config, table = context.config, table_of(context)
    k = cluster_count(config, context.dataset)
    with RegionStore.create(context.run.path / "regions.zarr", table.grid, config.kmeans_seeds, k) as store:
        methods = methods_of(context)
        total = len(methods) * len(config.kmeans_seeds)
        with context.reporter.track("segment", total, "clusterings") as progress:
            for method in methods:
                rows = clustered_rows(context, table, method)
                store.add_method(method, len(table.images), rows.channels)
                for index, seed in enumerate(config.kmeans_seeds):
                    model = fit_kmeans(rows, k, seed, config.kmeans_init, config.kmeans_rows)
                    store.write_centroids(method, index, model.centroids)
                    for start, _, labels in assign(rows, model):
                        store.write(method, index, start, labels)
                    progress.advance()
