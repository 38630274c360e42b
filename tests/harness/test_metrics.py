import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from serbench.harness.metrics import (
    METRICS,
    RANKINGS,
    SCORED,
    Total,
    ccc,
    ccc_by_group,
    count,
    jsd,
    noise_sentence,
    size,
    stored,
    tvd,
    written,
)

RANK_KEYS = (
    "ccc_activation",
    "ccc_valence",
    "ccc_dominance",
    "epoch_s",
    "audio_s_per_s",
    "cache_fill_s",
    "run_s",
    "speedup_vs_full",
    "time_saved_vs_full",
    "break_even_epoch",
    "peak_vram_bytes",
    "peak_host_bytes",
    "peak_host_anonymous_bytes",
    "trainable_params",
    "total_params",
    "noise_epoch_share",
    "noise_run_share",
    "noise_ccc",
    "noise_tvd",
    *SCORED,
)


@pytest.mark.parametrize("key", RANK_KEYS)
def test_what_rank_prints_is_described(key: str) -> None:
    assert key in METRICS


def test_each_measure_is_known_by_its_own_key_and_says_what_it_is() -> None:
    for key, metric in METRICS.items():
        assert metric.key == key
        assert metric.label
        assert metric.description.endswith(".")
    labels = [metric.label for metric in METRICS.values()]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(("suffix", "unit"), [("_s", "s"), ("_bytes", "bytes")])
def test_the_unit_in_the_key_is_the_unit(suffix: str, unit: str) -> None:
    units = {m.unit for m in METRICS.values() if m.key.endswith(suffix) and "_per_" not in m.key}
    assert units == {unit}


def test_directions() -> None:
    better = {key: metric.higher_is_better for key, metric in METRICS.items()}
    assert better["ccc_valence"] is True
    assert better["audio_s_per_s"] is True
    assert better["speedup_vs_full"] is True
    assert better["epoch_s"] is False
    assert better["peak_vram_bytes"] is False
    assert better["total_params"] is None
    assert [better[key] for key in ("tvd", "jsd_true", "annotator_ccc_valence")] == [
        False, False, True,
    ]  # fmt: skip


def test_what_rows_are_ranked_by_has_one_direction() -> None:
    for name, ranking in RANKINGS.items():
        assert {METRICS[key].higher_is_better for key in ranking.keys} == {
            ranking.higher_is_better
        }, name
    shorts = [ranking.short for ranking in RANKINGS.values()]
    assert len(set(shorts)) == len(shorts)
    assert all(shorts)


def test_a_ranking_is_the_mean_of_what_a_row_has() -> None:
    row = {"annotator_ccc_activation": 0.5, "annotator_ccc_valence": 0.25}
    assert RANKINGS["annotator_ccc"].of(row) == 0.375
    assert RANKINGS["annotator_ccc"].of({**row, "annotator_ccc_valence": None}) == 0.5
    assert RANKINGS["tvd"].of({"tvd": None}) is None


def test_parts_of_a_mean_add_up() -> None:
    assert (Total(3, 6.0) + Total(1, 2.0) + Total(0, 0.0)).value == 2.0
    assert Total(0, 0.0).value is None


def test_ccc_by_hand() -> None:
    # Means 2 and 3, variances 2/3 and 8/3, covariance 4/3.
    assert ccc([1, 2, 3], [1, 3, 5]) == pytest.approx(2 * (4 / 3) / (2 / 3 + 8 / 3 + 1))


def test_ccc_of_a_shifted_prediction_is_below_its_correlation() -> None:
    # Correlation 1, variances 2/3 each, means 1 apart.
    assert ccc([1, 2, 3], [2, 3, 4]) == pytest.approx((4 / 3) / (4 / 3 + 1))


def test_ccc_is_1_for_the_truth_and_minus_1_for_its_mirror_image() -> None:
    assert ccc([-1, 0, 1], [-1, 0, 1]) == pytest.approx(1)
    assert ccc([-1, 0, 1], [1, 0, -1]) == pytest.approx(-1)


def test_ccc_is_over_the_pool_and_not_a_mean_over_parts() -> None:
    truth, prediction = [0.0, 1.0, 10.0, 11.0], [1.0, 0.0, 11.0, 10.0]
    assert ccc(truth[:2], prediction[:2]) == pytest.approx(-1)
    assert ccc(truth, prediction) > 0.9


def test_pairs_with_a_nan_are_left_out() -> None:
    nan = math.nan
    assert ccc([1, nan, 2, 3, 9], [1, 5, 3, 5, nan]) == ccc([1, 2, 3], [1, 3, 5])


@pytest.mark.parametrize("value", [1.0, 0.1])
def test_degenerate_cases_are_defined(value: float) -> None:
    assert math.isnan(ccc([], []))
    assert math.isnan(ccc([value], [value]))
    assert math.isnan(ccc([value, math.nan], [value, value]))
    assert math.isnan(ccc([value] * 3, [value] * 3))
    assert ccc([value] * 3, [value + 1] * 3) == 0
    assert ccc([value] * 3, [1, 2, 3]) == 0


@pytest.mark.parametrize("prediction", [[1.0], [1.0, 2.0, 3.0]])
def test_different_lengths_are_refused(prediction: list[float]) -> None:
    with pytest.raises(ValueError, match=f"2 truths, but {len(prediction)} predictions"):
        ccc([1.0, 2.0], prediction)


numbers = st.integers(-100, 100).map(lambda n: n / 25)


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=40))
def test_ccc_is_the_formula_with_population_moments(pairs: list[tuple[float, float]]) -> None:
    truth, prediction = (np.array(values) for values in zip(*pairs, strict=True))
    found = ccc(truth, prediction)
    if np.ptp(truth) == 0 or np.ptp(prediction) == 0:
        assert math.isnan(found) == bool((truth == prediction).all())
        return
    covariance = ((truth - truth.mean()) * (prediction - prediction.mean())).mean()
    difference = truth.mean() - prediction.mean()
    expected = 2 * covariance / (truth.var() + prediction.var() + difference**2)
    assert found == pytest.approx(expected, abs=1e-9)


def test_the_table_of_measures_comes_without_the_heavy_packages() -> None:
    code = (
        "import sys, serbench.harness.metrics; "
        "sys.exit(any(n in sys.modules for n in ('numpy', 'pandas', 'audmetric', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("count", "shown"),
    [(None, "–"), (7, "7 B"), (999_000_000, "999 MB"), (999_780_352, "1 GB"), (1.5e13, "15 TB")],
)
def test_sizes_are_written_out(count: float | None, shown: str) -> None:
    assert size(count) == shown


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "–"), (0, "0"), (999, "999"), (999.6, "1k"), (21_263_616, "21.3M"), (7e9, "7G")],
)
def test_counts(number: float | None, text: str) -> None:
    assert count(number) == text


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("epoch_s", 1.579, "1.58 s"),
        ("run_s", None, "–"),
        ("peak_vram_bytes", 633_000_000, "633 MB"),
        ("trainable_params", 1_330_000, "1.33M"),
    ],
)
def test_costs_are_written_with_their_unit(key: str, value: float | None, text: str) -> None:
    assert written(key, value) == text


def test_the_noise_floor_in_words() -> None:
    nothing = dict.fromkeys(("noise_epoch_share", "noise_run_share", "noise_ccc", "noise_tvd"))
    assert noise_sentence({"noise_pairs": 0, **nothing}) == ""
    assert noise_sentence({"noise_pairs": 1, **nothing}) == ""
    told = {"noise_epoch_share": 0.0312, "noise_run_share": 0.1, "noise_ccc": 0.0004}
    sentence = (
        "The same run twice differed by up to 3.1 % in an epoch's time, 10.0 % in the whole run's, "
        "0.000 in CCC{} (3 pairs): smaller differences are ties."
    )
    told_of = {"noise_pairs": 3, **told, "noise_tvd": None}
    assert noise_sentence(told_of) == sentence.format("")
    assert noise_sentence({**told_of, "noise_tvd": 0.02}) == sentence.format(", 0.020 in TVD")


def test_distances_of_distributions_by_hand() -> None:
    p, q = np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.5, 0.5]])
    np.testing.assert_allclose(tvd(p, q), [1, 0])
    np.testing.assert_allclose(jsd(p, q), [math.log(2), 0], atol=1e-15)


def test_distances_of_distributions_are_scipys() -> None:
    rng = np.random.default_rng(0)
    p, q = (rng.dirichlet(np.full(16, 0.3), 50).reshape(50, 4, 4) for _ in range(2))
    p[:, 0, 0] = 0
    p /= p.sum(axis=(1, 2), keepdims=True)
    expected = [jensenshannon(a.ravel(), b.ravel()) ** 2 for a, b in zip(p, q, strict=True)]
    np.testing.assert_allclose(jsd(p, q), expected, rtol=1e-9)
    difference = [abs(a - b).sum() / 2 for a, b in zip(p, q, strict=True)]
    np.testing.assert_allclose(tvd(p, q), difference)
    assert (jsd(p, p) == 0).all()


def test_the_ccc_of_groups_is_that_of_each() -> None:
    rng = np.random.default_rng(1)
    truth, guess = rng.normal(size=(2, 300))
    group = rng.integers(0, 20, 300)
    guess[::7] = np.nan
    truth[group == 3] = guess[group == 3] = 0.25
    group[group == 4] = 5
    found = ccc_by_group(truth, guess, group, 21)
    each = [ccc(truth[group == g], guess[group == g]) for g in range(21)]
    np.testing.assert_allclose(found, each, rtol=1e-9)
    assert np.isnan(found[[3, 4, 20]]).all()


@pytest.mark.parametrize(
    ("names", "label", "meaning"),
    [
        (("ccc", "valence"), METRICS["ccc_valence"].label, METRICS["ccc_valence"].description),
        (("ccc_told", "valence"), "CCC valence told", "knowing who rated"),
        (("pair_ccc_told", "dominance"), "CCC of ratings dominance told", "single ratings"),
        (("tvd_true", "valence"), "TVD valence true", "this dimension alone"),
        (("annotator_ccc", "dominance"), "Annotators' CCC dominance", "not knowing who rated"),
        (
            ("annotator_ccc_enrolled_two", "valence"),
            "Annotators' CCC valence, enrolled: the mean of the two nearest",
            "own ratings",
        ),
        (("new_told", "valence"), "new_told valence", ""),
    ],
)
def test_every_score_that_runs_store_has_words(
    names: tuple[str, str], label: str, meaning: str
) -> None:
    told = stored(*names)
    assert told[0] == label
    assert meaning in told[1]
    assert bool(told[1]) == bool(meaning)
