"""Moments, CKA and clusters: equal to slow references, blind to batches, true to plants."""

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, linkage

from lib import BadInput, activations, similarity
from lib.similarity import (
    CHUNK,
    Moments,
    cluster_windows,
    clusters,
    correlation_clusters,
    linear_cka,
)


def sample(n=700, width=10, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(width, width, generator=generator, dtype=torch.float64)
    rows = torch.randn(n, width, generator=generator, dtype=torch.float64) @ mix
    return (rows + 3 * torch.arange(width)).to(dtype)


def moments_of(rows, batch=100, **options):
    moments = Moments(rows.shape[1], **options)
    for part in rows.split(batch):
        moments.update(part)
    return moments


@pytest.mark.parametrize("batch", [1, 7, 64, 700])
def test_streaming_equals_numpy(batch):
    rows = sample()
    moments = moments_of(rows, batch)
    assert moments.count == 700
    np.testing.assert_allclose(moments.mean, rows.numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.scatter / 699, np.cov(rows.numpy().T), rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(moments.variance, rows.numpy().var(0), rtol=1e-10)
    np.testing.assert_allclose(moments.correlation(), np.corrcoef(rows.numpy().T), atol=1e-12)


@pytest.mark.parametrize("width", [3, 900, 1700])
def test_many_chunks_and_strips_equal_one_product(width):
    rows = sample(2 * CHUNK + 5, width)
    centred = rows - rows.mean(0)
    want = centred.T @ centred
    got = moments_of(rows, 1000).scatter
    assert torch.equal(got, got.T)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-6 * want.abs().max().item())


@pytest.mark.parametrize("batch", [1, 13, 4000])
def test_batch_size_changes_not_one_bit(batch):
    rows = sample(CHUNK + 300, dtype=torch.float32)
    assert torch.equal(moments_of(rows, batch).scatter, moments_of(rows, 999).scatter)


@pytest.mark.parametrize("dtype,tolerance", [(torch.float32, 1e-6), (torch.float16, 1e-3)])
def test_low_precision_rows_agree_with_double(dtype, tolerance):
    rows = sample(3 * CHUNK, 40) + 100  # far from zero, where naive sums lose digits
    exact = np.corrcoef(rows.numpy().T)
    got = moments_of(rows.to(dtype)).correlation()
    reference = exact if dtype == torch.float32 else np.corrcoef(rows.to(dtype).double().numpy().T)
    np.testing.assert_allclose(got, reference, atol=tolerance)


def test_outliers_do_not_spoil_the_sums():
    rows = sample(500, dtype=torch.float32)
    rows[0] += 1e3
    np.testing.assert_allclose(
        moments_of(rows, 1).correlation(), np.corrcoef(rows.double().numpy().T), atol=1e-6
    )


@pytest.mark.parametrize("cut", [0, 1, 250, 700])
def test_merge_is_as_if_seen_together(cut):
    rows = sample()
    left, right = moments_of(rows[:cut]), moments_of(rows[cut:])
    before = right.count and right.scatter.clone()
    merged = left.merge(right)
    torch.testing.assert_close(merged.scatter, moments_of(rows).scatter, rtol=1e-9, atol=1e-7)
    torch.testing.assert_close(merged.mean, rows.mean(0))
    assert merged.count == 700
    assert right.count == 0 or torch.equal(right.scatter, before)
    torch.testing.assert_close(
        merged.update(rows).scatter, moments_of(torch.cat([rows, rows])).scatter
    )


@pytest.mark.parametrize("made, fed, read", list(np.ndindex(2, 2, 2)))
def test_inference_mode_may_begin_and_end_anywhere(made, fed, read):
    rows = sample()
    with torch.inference_mode(bool(made)):
        moments = Moments(10)
    with torch.inference_mode(bool(fed)):
        moments.update(rows[:300] + 0).merge(Moments(10).update(rows[300:400] + 0))
    with torch.inference_mode(bool(read)):
        correlation = moments.correlation()
    assert not correlation.is_inference()
    moments.update(rows[400:])
    torch.testing.assert_close(moments.scatter, moments_of(rows).scatter)


def test_rows_that_ask_for_gradients_leave_none():
    moments = Moments(10).update(sample().requires_grad_())
    assert not moments.scatter.requires_grad


def test_rows_that_are_refused_are_not_counted_twice():
    moments = Moments(2).update(torch.tensor([[1.0, float("nan")]]))
    for _ in range(2):
        with pytest.raises(BadInput, match="up to number 1 hold"):
            moments.mean  # noqa: B018


def test_reading_midway_changes_nothing():
    rows = sample()
    moments = moments_of(rows[:300])
    moments.correlation(), moments.mean
    torch.testing.assert_close(moments.update(rows[300:]).scatter, moments_of(rows).scatter)


def test_wider_rows_widen_the_products():
    rows = sample(400)
    mixed = Moments(10).update(rows[:100].float()).update(rows[100:])
    torch.testing.assert_close(mixed.scatter, moments_of(rows).scatter, rtol=1e-5, atol=1e-2)


def test_constant_columns_are_found_and_correlate_with_nothing():
    rows = sample(5000, dtype=torch.float32)
    rows[:, 4] = 0.3
    rows[:, 7] = 0.0
    moments = moments_of(rows, 33)
    assert moments.constant.nonzero().flatten().tolist() == [4, 7]
    assert moments.scatter[4, 4] == 0
    correlation = moments.correlation()
    assert correlation[4].tolist() == [float(i == 4) for i in range(10)]
    clusters = correlation_clusters(correlation, [0.9])[0.9]
    assert (clusters == clusters[4]).sum() == 1


def test_memory_does_not_grow_with_rows():
    rows = sample(CHUNK)
    few, many = Moments(10).update(rows), Moments(10)
    for _ in range(20):
        many.update(rows)
    size = [sum(v.nbytes for v in vars(m).values() if torch.is_tensor(v)) for m in (few, many)]
    assert size[0] == size[1]


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: Moments(0), "width 0"),
        (lambda: Moments(4).update(torch.ones(2, 5)), "shape \\(2, 5\\)"),
        (lambda: Moments(4).scatter, "no rows"),
        (lambda: Moments(4).merge(Moments(5)), "5 columns"),
        (lambda: Moments(2).update(torch.tensor([[1.0, float("nan")]])).mean, "NaN"),
        (lambda: linear_cka(torch.eye(4), [2, 3]), "widths sum to 5"),
        (lambda: correlation_clusters(torch.eye(4), [0.5, 1.5]), "\\[1.5\\].*0 to 1"),
        (lambda: correlation_clusters(torch.ones(4, 3), [0.5]), "square"),
        (lambda: cluster_windows([1, 2, 3], [2, 2]), "widths sum to 4"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(BadInput, match=message):
        call()


# ---- CKA


def slow_cka(x, y):
    """The definition through N x N Gram matrices."""
    centre = torch.eye(len(x), dtype=x.dtype) - 1 / len(x)
    k, m = (centre @ (a @ a.T) @ centre for a in (x, y))
    return (k * m).sum() / (k.norm() * m.norm())


def test_cka_equals_the_gram_definition_for_unequal_widths():
    rows, widths = sample(60, 9), [2, 3, 4]
    got = linear_cka(moments_of(rows).scatter, widths)
    parts = rows.split(widths, dim=1)
    want = torch.stack([torch.stack([slow_cka(x, y) for y in parts]) for x in parts])
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


def test_cka_is_blind_to_rotation_scale_and_shift():
    x, other = sample(200, 5), sample(200, 4, seed=1)
    rotation = torch.linalg.qr(sample(5, 5, seed=2)).Q
    stacked = torch.cat([x, 7 * x @ rotation + 3, other], dim=1)
    cka = linear_cka(moments_of(stacked).scatter, [5, 5, 4])
    assert cka[0, 1].item() == pytest.approx(1)
    assert cka[0, 2].item() == pytest.approx(cka[1, 2].item())
    assert (cka >= 0).all() and (cka <= 1 + 1e-12).all()


def test_cka_of_a_constant_layer_is_undefined():
    rows = torch.cat([sample(50, 3), torch.full((50, 2), 0.25)], dim=1)
    cka = linear_cka(moments_of(rows).scatter, [3, 2])
    assert cka[0, 0] == 1
    assert cka[0, 1].isnan() and cka[1, 1].isnan()


# ---- clusters


def planted(seed=0, n=4000):
    """Twelve neurons: three groups (signs mixed), then three loners, in this order."""
    generator = torch.Generator().manual_seed(seed)
    source = torch.randn(n, 6, generator=generator)
    group = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5])
    sign = torch.tensor([1, -1, 1, -1, 1, 1, -1, 1, -1, 1, 1, 1])
    noise = 0.2 * torch.randn(n, 12, generator=generator)
    return source[:, group] * sign + noise, group.numpy()


def test_planted_groups_are_found_whatever_their_sign():
    rows, group = planted()
    labels = correlation_clusters(moments_of(rows).correlation(), [0.3])[0.3]
    assert len(set(labels)) == 6
    assert len(set(zip(labels, group, strict=True))) == 6


def test_one_linkage_equals_one_per_threshold():
    """The released code's steps, threshold by threshold."""
    correlation = np.corrcoef(sample(300, 30).numpy().T)
    distance = 1 - np.abs((correlation + correlation.T) / 2)
    np.fill_diagonal(distance, 0)
    thresholds = [round(0.1 * i, 1) for i in range(1, 10)]
    got = correlation_clusters(torch.from_numpy(correlation), thresholds)
    tree = linkage(distance[np.triu_indices(30, 1)], method="average")
    for t in thresholds:
        want = fcluster(tree, t, criterion="distance")
        assert len(set(zip(got[t], want, strict=True))) == len(set(want)) == len(set(got[t]))


def test_clusters_only_merge_as_the_threshold_rises():
    correlation = moments_of(sample(300, 40)).correlation()
    labels = correlation_clusters(correlation, [0, 0.2, 0.5, 0.8, 1.0])
    fine = None
    for coarse in labels.values():
        if fine is not None:
            assert len(set(zip(fine, coarse, strict=True))) == len(set(fine))
        fine = coarse
    assert len(set(labels[0])) == 40
    assert len(set(labels[1.0])) == 1


def test_undefined_correlation_counts_as_none():
    correlation = moments_of(planted()[0]).correlation()
    correlation[3] = correlation[:, 3] = float("nan")
    labels = correlation_clusters(correlation, [0.9])[0.9]
    assert (labels == labels[3]).sum() == 1


def test_windows_of_the_released_toy_example():
    windows = cluster_windows([1, 1, 2, 3, 3, 2], [2, 2, 2])
    assert dict(zip(*np.unique(windows, return_counts=True), strict=True)) == {1: 1, 2: 2}


def test_counts_of_clusters_are_those_of_their_labels():
    rows, _ = planted()
    rows = torch.cat([rows, torch.full((len(rows), 2), 0.25)], dim=1)
    moments, widths, thresholds = moments_of(rows), [5, 5, 4], [0.3, 1.0]
    found = clusters(moments, widths, thresholds)
    assert (found["rows"], found["neurons"], found["layers"]) == (4000, 14, 3)
    assert found["constant"] == 2
    assert found["clusters"] == {0.3: 8, 1.0: 1}  # a threshold of 1 joins whatever is left
    assert found["clusters_varying"] == {0.3: 6, 1.0: 1}
    assert found["sizes"][0.3] == {1: 5, 2: 1, 3: 1, 4: 1}
    for threshold, labels in correlation_clusters(moments.correlation(), thresholds).items():
        windows = cluster_windows(labels, widths)
        assert sum(found["windows"][threshold].values()) == len(windows)
        assert max(found["windows_of_several"][threshold]) == max(windows)


def test_one_pass_equals_the_kept_rows(family_model):
    sentences = ["The old sailor watched a boat .".split(), "Why ?".split()] * 3
    rows = activations.extract(*family_model, sentences, level="word", pooling="mean").rows
    moments = similarity.moments(*family_model, sentences, level="word", pooling="mean")
    assert moments.count == len(rows) == 27
    want = np.corrcoef(rows.flatten(1).double().numpy().T)
    np.testing.assert_allclose(moments.correlation(), want, atol=1e-4)


def test_windows_do_not_depend_on_the_names_of_clusters():
    labels = np.array([5, 9, 5, 2, 9, 2])
    assert cluster_windows(labels, [1] * 6).tolist() == [3, 3, 4]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_agrees_with_cpu():
    rows = sample(5000, 300, dtype=torch.float32)
    gpu = moments_of(rows.cuda(), device="cuda")
    cpu = moments_of(rows)
    torch.testing.assert_close(gpu.correlation().cpu(), cpu.correlation(), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        linear_cka(gpu.scatter, [100] * 3).cpu(), linear_cka(cpu.scatter, [100] * 3)
    )


def test_a_column_that_varies_by_rounding_alone_is_constant():
    """A millionth of its mean is the limit, wherever the mean lies."""
    noise = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean = torch.tensor([1e4, 1e4, 0.0], dtype=torch.float64)
    spread = torch.tensor([1e-5, 10.0, 1e-9], dtype=torch.float64)
    assert Moments(3).update(mean + spread * noise).constant.tolist() == [True, False, False]
