"""Pauses between tries grow, within limits."""

from intel_agent.backoff import BackOff


def test_pauses_grow_and_begin_again() -> None:
    back_off = BackOff(0.1, 1.0)
    pauses = [back_off.pause() for _ in range(8)]
    back_off.reset()

    assert all(
        0.75 * wanted <= pause <= 1.25 * wanted for pause, wanted in zip(pauses, (0.1, 0.2, 0.4, 0.8), strict=False)
    )
    assert all(0.75 <= pause <= 1.25 for pause in pauses[4:])
    assert back_off.pause() <= 0.125
