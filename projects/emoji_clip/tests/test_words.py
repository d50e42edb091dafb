import io
import json
import tarfile

from projects.emoji_clip.concepts import Concept
from projects.emoji_clip.words import add_words


def test_names_and_tags_are_added_behind_what_is_known(tmp_path):
    heart = Concept("\u2764", "red heart", "smileys and emotion", "red heart", "train", {"en": ["red heart", "heart"]})
    entries = {
        "en": [{"hexcode": "2764-FE0F", "label": "red heart", "tags": ["Heart", "love"]}],
        "da": [{"hexcode": "2764-FE0F", "label": "rødt hjerte"}],
        "sv": [{"hexcode": "1F34E", "label": "rött äpple"}],
    }
    archive = tmp_path / "emojibase.tgz"
    with tarfile.open(archive, "w:gz") as members:
        for language, rows in entries.items():
            data = json.dumps(rows).encode()
            entry = tarfile.TarInfo(f"package/{language}/data.json")
            entry.size = len(data)
            members.addfile(entry, io.BytesIO(data))
    add_words([heart], archive)
    assert heart.captions == {"en": ["red heart", "heart", "love"], "da": ["rødt hjerte"], "sv": []}
