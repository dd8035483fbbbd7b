"""Fifty `kill -9` at random instants; `tests/compare/kill.py` makes a thousand."""

from __future__ import annotations

from killing import Scene


def test_nothing_is_lost_or_half_written_and_answers_stay_the_same():
    with Scene(seed=17) as scene:
        for _ in range(50):
            scene.round()
        assert scene.killed.total() >= 20, scene.figures()
