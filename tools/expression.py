"""How activation, valence and dominance sound: the rules of vocal expression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embedded_labels import Speaker
from numpy.typing import NDArray

__all__ = ["Manner", "manner"]


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How one utterance is said.

    The rules follow the reviews of Scherer (1986, Psychol. Bull. 99; 2003, Speech Commun. 40) and
    Juslin & Laukka (2003, Psychol. Bull. 129), the measurements of Banse & Scherer (1996, J. Pers.
    Soc. Psychol. 70), and for dimensions Schröder et al. (2001, Eurospeech), Laukka, Juslin &
    Bresin (2005, Cogn. Emot. 19) and Goudbeek & Scherer (2010, J. Acoust. Soc. Am. 128). They say
    in which direction; how far is chosen, so that activation is easy and valence hard, as it is in
    real corpora.
    """

    rate_wpm: int
    gap: int
    """Pause between words, 10 ms at eSpeak's default rate."""
    f0_hz: float
    range_st: float
    """Range of eSpeak's own intonation, semitones."""
    formant: float
    slope_st: float
    """Rise of F0 over the utterance, semitones; falling if negative."""
    final_st: float
    """Fall of F0 over the last part, semitones."""
    bounce_st: float
    """Depth of the slow movement of F0, semitones."""
    bounce_phase: float
    jitter_st: float
    roughness: float
    """Depth of the irregular modulation of the amplitude."""
    breath: float
    """Amplitude of aspiration noise against the voice."""
    tilt_db: float
    """Per octave, around 1 kHz."""
    level_db: float
    """RMS against full scale."""
    floor_db: float
    """Noise of the recording against full scale."""


def manner(speaker: Speaker, felt: NDArray[np.float64], rng: np.random.Generator) -> Manner:
    """How a speaker says something felt as (3,), in [-1, 1]."""
    a, v, d = felt.tolist()
    # A regular voice speaks of joy, an irregular one of displeasure (Juslin & Laukka 2003); tense
    # and harsh or breathy and lax goes with effort (Gobl & Ní Chasaide 2003, Speech Commun. 40).
    rough = float(
        np.clip(0.35 - 0.35 * v + 0.08 * a + speaker.roughness + rng.normal(0, 0.08), 0, 1)
    )
    breath = float(np.clip(speaker.breath - 0.1 * a - 0.08 * d + rng.normal(0, 0.04), 0, 0.5))
    pitch_st = 2.6 * a - 1.4 * d + 0.4 * v + rng.normal(0, 1.0)
    # Smiling shortens the vocal tract and raises formants (Tartter 1980, Percept. Psychophys. 27);
    # a low larynx and low formants sound large and in charge (Ohala 1984, Phonetica 41).
    formant = speaker.formant * (1 + 0.06 * v - 0.03 * d + rng.normal(0, 0.012))
    return Manner(
        rate_wpm=round(198 * 2 ** (speaker.tempo + 0.3 * a - 0.1 * d + rng.normal(0, 0.1))),
        gap=max(0, round(1.0 - 1.5 * a + rng.normal(0, 0.8))),
        f0_hz=speaker.f0_hz * 2 ** (pitch_st / 12),
        range_st=max(1.0, 6 + 2.5 * a + 0.8 * v + rng.normal(0, 1.0)),
        formant=formant,
        # Contours rise and are wide in joy, fall and are narrow in sadness (Juslin & Laukka 2003).
        # Long-term averages do not hear the direction: an encoder that hears it has the advantage.
        slope_st=6.0 * v + rng.normal(0, 1.2),
        final_st=2.2 * d + rng.normal(0, 0.7),
        bounce_st=max(0.0, 0.8 + 0.8 * v + rng.normal(0, 0.25)),
        bounce_phase=rng.uniform(0, 2 * np.pi),
        jitter_st=0.06 + 0.4 * rough**2,
        roughness=0.6 * rough,
        breath=breath + 0.2 * rough,
        # Effort flattens the spectrum (Banse & Scherer 1996; Laukka et al. 2005).
        tilt_db=speaker.tilt_db + 1.5 * a + 0.6 * d + rng.normal(0, 0.6),
        # The rest is the distance to the microphone and its gain.
        level_db=-27 + speaker.level_db + 3.0 * a + 1.5 * d + rng.normal(0, 1.6),
        floor_db=rng.uniform(-66, -54),
    )
