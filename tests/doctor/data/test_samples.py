from __future__ import annotations

from qwen_embed_integrations.doctor.data import samples


def test_each_question_has_its_answer() -> None:
    assert len(samples.QUESTIONS) == len(samples.ANSWERS) == len(set(samples.ANSWERS))


def test_a_text_is_cut_to_what_surely_fits_and_never_to_nothing() -> None:
    assert samples.fit("x" * 100, None) == "x" * 100
    assert samples.fit("x" * 100, 50) == "x" * 34
    assert samples.fit("x" * 100, 3) == "x"


def test_every_seed_gives_another_text_and_the_same_one_each_time() -> None:
    texts = [samples.words(seed, 5) for seed in range(20)]
    assert len(set(texts)) == 20
    assert texts == [samples.words(seed, 5) for seed in range(20)]
    assert all(len(text.split()) == 6 for text in texts)
