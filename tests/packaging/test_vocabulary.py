"""The spine speaks of classes, labels and images only where a reason is written down."""

from collections import Counter

from vocabulary import Permission, faults, mentioned, permissions, spine

MODULE = '''"""Changes Images: ``class`` of a :class:`Thing`."""


class WorstThing:  # its label_names
    kinds: ClassVar[tuple[str, ...]] = ("pixel",)

    def image_summary(self, cls, dataclass): ...
'''


def allowed(where, *words):
    return Permission(sense="image step", where=where, words=frozenset(words), reason="it is one")


def test_the_spine_says_only_what_is_allowed_and_nothing_is_allowed_for_nothing():
    assert faults(spine(), permissions()) == []


def test_words_are_found_in_names_texts_and_comments_but_pythons_own_are_not(tmp_path):
    (tmp_path / "one.py").write_text(MODULE)
    found = mentioned(tmp_path / "one.py")
    assert found == Counter(image=2, label=1, pixel=1) + Counter({"class": 1})


def test_a_file_that_is_not_python_is_read_as_text(tmp_path):
    (tmp_path / "loop.yaml").write_text("source: folder:images  # one per class\n")
    assert mentioned(tmp_path / "loop.yaml") == Counter({"image": 1, "class": 1})


def test_recipes_are_outside(tmp_path):
    for room in ("recipes", "checks"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "one.py").write_text("label = 1\n")
    assert list(spine(tmp_path)) == ["checks/one.py"]


def test_a_word_without_a_permission_and_a_permission_without_a_word_are_faults():
    files = {"loop/close.py": Counter({"label": 2}), "data/augment.py": Counter({"image": 1})}
    told = [allowed("data/", "image", "pixel"), allowed("loop/closer.py", "label")]
    assert faults(files, told) == [
        "loop/close.py says 'label' 2 times: ask the answer kind, or allow it with a reason",
        "data/ may say 'pixel' and does not: take the word off the list",
        "loop/closer.py may say 'label' and does not: take the word off the list",
    ]
