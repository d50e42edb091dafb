from collections import Counter, defaultdict

import pytest

from projects.emoji_clip.concepts import concepts, distinct, fold_of, stem_of


SKIN_TONES = {chr(code) for code in range(0x1F3FB, 0x1F400)}


@pytest.fixture(scope="module")
def table():
    return concepts()


def test_there_are_1914_concepts_in_nine_groups(table):
    assert len(table) == len({concept.emoji for concept in table}) == 1914
    assert len({concept.group for concept in table}) == 9


def test_no_concept_has_a_skin_tone_or_a_variation_selector(table):
    assert not any(SKIN_TONES & set(concept.emoji) or "\ufe0f" in concept.emoji for concept in table)


def test_every_concept_is_named_in_fourteen_languages(table):
    assert {len(concept.captions) for concept in table} == {14}
    assert all(concept.captions["en"][0] == concept.label for concept in table)


def test_folds_are_about_80_10_10(table):
    shares = {fold: count / len(table) for fold, count in Counter(concept.fold for concept in table).items()}
    assert shares == {
        "train": pytest.approx(0.8, abs=0.05),
        "val": pytest.approx(0.1, abs=0.03),
        "test": pytest.approx(0.1, abs=0.03),
    }


def test_every_group_is_in_every_fold(table):
    assert len({(concept.group, concept.fold) for concept in table}) == 27


def test_variants_share_a_fold(table):
    folds = defaultdict(set)
    for concept in table:
        folds[concept.stem].add(concept.fold)
    assert all(len(found) == 1 for found in folds.values())


@pytest.mark.parametrize(
    "variants",
    [
        ["man health worker", "woman health worker", "health worker"],
        ["one o’clock", "twelve-thirty", "six o’clock"],
        ["keycap 1", "keycap #", "keycap 10"],
        ["1st place medal", "2nd place medal"],
        ["woman", "old man", "person", "woman red hair"],
        ["family man woman boy", "family adult child", "family"],
        ["flag: France", "flag: St. Martin"],
    ],
    ids=["person_words", "clocks", "keycaps", "ordinals", "people", "families", "flags_alike"],
)
def test_variants_have_one_stem(variants):
    assert len({stem_of(label) for label in variants}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("flag: Norway", "flag: Sweden"), ("red apple", "green apple"), ("alarm clock", "one o’clock"), ("dog", "cat")],
)
def test_different_things_have_different_stems(one, other):
    assert stem_of(one) != stem_of(other)


def test_a_fold_depends_on_the_stem_alone():
    assert fold_of("red apple") == fold_of("red apple")
    assert {fold_of(str(number)) for number in range(100)} == {"train", "val", "test"}


def test_words_are_kept_once_in_any_case():
    assert distinct(["Wales", "wales", "flag", "Wales"]) == ["Wales", "flag"]
