import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spectral_graph.graph.batches import plan_batches


@given(st.integers(1, 200), st.integers(1, 60), st.integers(1, 4), st.integers(0, 2**31))
def test_every_image_is_in_one_batch_a_round(images, batch, rounds, seed):
    plan = plan_batches(images, batch, rounds, seed)
    expected = 1 if images <= batch else rounds
    counts = np.bincount(np.concatenate(plan), minlength=images)
    assert counts.tolist() == [expected] * images
    assert max(map(len, plan)) <= batch
    assert max(map(len, plan)) - min(map(len, plan)) <= 1
    assert all((np.diff(part) > 0).all() for part in plan)


def test_rounds_mix_other_images_and_the_seed_decides():
    first, second = plan_batches(20, 10, 2, 0)[0], plan_batches(20, 10, 2, 0)[2]
    assert first.tolist() != second.tolist()
    assert all((a == b).all() for a, b in zip(plan_batches(20, 10, 2, 7), plan_batches(20, 10, 2, 7), strict=True))
    assert any((a != b).any() for a, b in zip(plan_batches(20, 10, 2, 7), plan_batches(20, 10, 2, 8), strict=True))
