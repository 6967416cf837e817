"""Entries of metrics.json and facts of graphs, as the report gets them."""

from __future__ import annotations


def mean_sd(mean, sd=None):
    return {"mean": mean, "sd": sd}


def method(title, hungarian, greedy, mse, classes, seeds=3):
    """An entry of metrics.json; `hungarian` and `greedy` are (mean IoU, accuracy).

    Args:
        classes: name -> (IoU with Hungarian matching, IoU with greedy matching, labelled pixels).
    """
    scores = {}
    for index, (matching, (miou, accuracy)) in enumerate({"hungarian": hungarian, "greedy": greedy}.items()):
        iou = {name: mean_sd(values[index]) for name, values in classes.items()}
        scores[matching] = {"miou": mean_sd(*miou), "accuracy": mean_sd(*accuracy), "classes": iou}
    pixels = {name: values[2] for name, values in classes.items()}
    about = {"title": title, "clusters": 27, "coordinates": {"mse": mse}, "images_scored": 41, "seeds": [{}] * seeds}
    return {**about, **scores, "class_pixels": pixels}


def facts(nodes, edges, isolated, largest, mean, components, **more):
    """The facts of a graph as they are stored with it."""
    return {
        "nodes": nodes,
        "stored_edges": edges,
        "isolated_nodes": isolated,
        "largest_in_degree": largest,
        "mean_degree": mean,
        "components": components,
        **more,
    }
