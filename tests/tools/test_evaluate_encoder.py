"""How the encoder is held against random weights."""

from __future__ import annotations

from typing import Any

import evaluate_encoder
import numpy as np
import pytest

from serbench.harness import backbone
from serbench.harness.corpora import generated


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Runs in which the factor 5 is best on validation and worst on test."""
    done: list[tuple[str, ...]] = []

    def asked(*words: str) -> list[Any]:
        if words[0] == "run":
            done.append(words)
            return [{"event": "started", "run": len(done)}, {"event": "ended", "run": len(done)}]
        scale = next(w for w in done[int(words[1]) - 1] if w.startswith("lr_scale="))
        good = 0.6 if scale == "lr_scale=5" else 0.3
        return [
            {
                "epochs": [{"validation": {"activation": value}} for value in (good, 0.1)],
                "scores": [
                    {"split": "validation", "dimension": "activation", "value": 0.99},
                    {"split": "test", "dimension": "activation", "value": 1 - good},
                ],
            }
        ]

    monkeypatch.setattr(evaluate_encoder, "asked", asked)
    return done


def test_each_takes_the_rate_that_validation_prefers(
    runs: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate_encoder.finetuned("tiny", "embedded", "full", [], [1.0, 5.0])
    told = capsys.readouterr().out
    assert "`tiny`, `full`, rates × 5 | 0.400 ± 0.000" in told
    assert "random weights, `full`, rates × 5 | 0.400 ± 0.000" in told
    tuning = [words for words in runs if words[words.index("--seeds") + 1] == "100"]
    assert len(tuning) == 4
    assert len(runs) == 4 + 2 * 3
    assert len({words[words.index("--backbone") + 1] for words in runs}) == 1 + 4


def test_random_encoders_are_drawn_anew_for_each_seed() -> None:
    first, again, other = (evaluate_encoder.random_encoder("tiny", seed) for seed in (0, 0, 1))
    weights = [next(each.model.parameters()).detach().numpy() for each in (first, again, other)]
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_states_are_the_mean_and_deviation_of_each_layer() -> None:
    corpus = generated.load("speakers=3,utterances=1,seconds=1")
    found = evaluate_encoder.states(backbone.load(backbone.locate("tiny")), corpus)
    assert found.shape == (3, 7, 2 * 192)
    assert (found[..., 192:] > 0).all()
