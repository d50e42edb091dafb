import pickle
import shutil
from collections import Counter

import pytest

from mmkit.datasets.core import CombinedDataset, DefaultDataCollator, Modalities
from mmkit.errors import RefusedError, UsageError
from projects.emoji_clip.dataset import Emoji


def test_an_example_has_picture_caption_group_and_concept(small_data):
    example = Emoji(split="test", vendors="unseen")[0]
    assert list(example) == ["example_index", "rgb", "rgb_target", "text"]
    assert (example.example_index, example.rgb_target, example.text) == (2, 1, "thing 2")
    assert example.rgb.shape == (3, 2, 2)
    assert example.rgb.unique().tolist() == [2]


@pytest.mark.parametrize(
    ("vendors", "names", "concepts"),
    [
        ("seen", ["noto", "twemoji"], [0, 1, 0, 1]),
        ("unseen", ["openmoji"], [0, 1]),
        ("gallery", ["noto"], [0, 1]),
        ("twemoji", ["twemoji"], [0, 1]),
        (["twemoji", "openmoji"], ["openmoji", "twemoji"], [0, 1, 0, 1]),
    ],
    ids=["seen", "unseen", "gallery", "one", "list"],
)
def test_vendors_are_chosen_by_role_or_name(small_data, vendors, names, concepts):
    dataset = Emoji(vendors=vendors)
    assert list(dict.fromkeys(vendor for _, _, vendor in dataset.pictures)) == names
    assert [dataset[i].example_index for i in range(len(dataset))] == concepts


def test_where_openmoji_is_alone_it_is_trained_on(pypi_data):
    assert Emoji().vendors == Emoji(vendors="gallery").vendors == ["openmoji"]
    with pytest.raises(RefusedError, match=r"no other vendor to train on. Type: mmkit data prepare emoji --sets small"):
        Emoji(vendors="unseen")


def test_splits_share_no_concept(pypi_data):
    concepts = {split: {concept for _, concept, _ in Emoji(split).pictures} for split in ("train", "val", "test")}
    assert sum(map(len, concepts.values())) == len(set.union(*concepts.values())) == len(Emoji("all")) == 1914


def test_every_second_view_has_another_caption(small_data):
    dataset = Emoji(vendors="noto", views=4)
    assert len(dataset) == 8
    captions = [dataset[i].text for i in range(8)]
    assert captions[0] == captions[2] == "thing 0"
    assert {captions[1], captions[3]} <= {"first", "zero"}
    assert captions[4:] == ["thing 1"] * 4  # there is no other word for it


def test_captions_are_chosen_by_the_seed_alone(pypi_data):
    def chosen(seed):
        dataset = Emoji("val", views=2, seed=seed)
        return [dataset[i].text for i in range(1, len(dataset), 2)]

    assert chosen(0) == chosen(0)
    assert chosen(0) != chosen(1)


def test_other_words_are_chosen_evenly(small_data):
    dataset = Emoji(vendors="noto", views=400)
    counts = Counter(dataset[i].text for i in range(1, 400, 2))
    assert counts.keys() == {"first", "zero"}
    assert min(counts.values()) > 70  # of 200; fewer has a probability of 1e-5


def test_each_modality_has_captions_in_its_language(small_data):
    dataset = Emoji(vendors="noto", captions={"text": "en", "text_fr": "fr"})
    assert (dataset[0].text, dataset[0].text_fr) == ("thing 0", "chose 0")
    assert "text_fr" not in dataset[1]  # there is none in that language


def test_all_pictures_of_a_concept_match_each_other(small_data):
    combined = CombinedDataset([Emoji()])
    batch = DefaultDataCollator()([combined[i] for i in range(len(combined))])
    assert batch["rgb"].shape == (4, 3, 2, 2)
    assert batch["example_ids"]["rgb"].tolist() == [[0, 0], [0, 1], [0, 0], [0, 1]]
    assert batch["rgb_target"].tolist() == [0, 0, 0, 0]


def test_groups_have_names(pypi_data):
    dataset = Emoji("test")
    assert dataset.id2label[0] == "smileys and emotion"
    assert list(dataset.id2label) == list(range(9))
    assert all("{}" in template for template in dataset.zero_shot_prompt_templates)
    assert {dataset[i].rgb_target for i in range(len(dataset))} == set(range(9))


def test_a_worker_opens_the_images_itself(pypi_data):
    dataset = Emoji("test")
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 10e6  # the images have 53 MB
    assert pickle.loads(pickled)[0].rgb.equal(dataset[0].rgb)


def test_examples_own_their_pictures(small_data):
    dataset = Emoji()
    dataset[0].rgb.fill_(99)
    assert not (dataset[0].rgb == 99).any()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"split": "dev"}, UsageError, "unknown split 'dev'. Allowed: train, val, test, all."),
        (
            {"vendors": "apple"},
            UsageError,
            "unknown vendor 'apple'. In the data: openmoji, noto, twemoji; or seen, unseen, gallery.",
        ),
        ({"captions": {"text": "xx"}}, UsageError, "no captions in the language 'xx'. In the data: en, fr."),
        ({"captions": {"txt": "en"}}, ValueError, "Unknown modality 'txt'"),
        ({"views": 0}, UsageError, "views=0. Use 1 or more."),
        ({"sets": "pypi"}, RefusedError, "is not prepared. Type: mmkit data prepare emoji --sets pypi"),
        ({"sets": "most"}, UsageError, "has no selection 'most'. Allowed: all, small, pypi."),
    ],
    ids=["split", "vendor", "language", "modality", "views", "not_prepared", "selection"],
)
def test_mistakes_are_named(small_data, arguments, error, says):
    with pytest.raises(error, match=says):
        Emoji(**arguments)


def test_missing_data_says_what_to_type(small_data):
    shutil.rmtree(small_data)
    with pytest.raises(RefusedError, match=r"The data set 'emoji' is not prepared. Type: mmkit data prepare emoji$"):
        Emoji()


def test_truncated_images_are_refused(small_data):
    images = small_data / "images.npy"
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(
        RefusedError, match=r"'emoji' is damaged \(.*images.npy is missing or has another size\). Type: mmkit data"
    ):
        Emoji()


def test_french_is_a_modality():
    assert Modalities.TEXT_FR.attention_mask == "text_fr_attention_mask"
