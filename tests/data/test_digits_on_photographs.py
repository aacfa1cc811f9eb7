"""Digits on photographs: every box is where its digit is, and what cameras do to both."""

import numpy as np
import pytest

from edgeloop.data.augment_boxes import BoxAugmentation, moved
from edgeloop.data.merge import merge
from edgeloop.data.sets import digits_on_photographs as photographs
from edgeloop.data.split import Stratified
from edgeloop.plugins import Context


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return photographs.load(Context(scratch=tmp_path_factory.mktemp("data")), share=0.05)


def test_the_same_share_gives_the_same_snapshot_and_the_rest_the_others(drawn, tmp_path):
    again = photographs.load(Context(scratch=tmp_path), share=0.05)
    assert again.to_meta() == drawn.to_meta()
    assert [p.read_bytes() for p in again.files.values()] == [
        p.read_bytes() for p in drawn.files.values()
    ]
    one, rest = photographs._taken(0.05, rest=False), photographs._taken(0.05, rest=True)
    assert sorted([*one, *rest]) == list(range(photographs.SCENES))
    assert (drawn.rows, len(one)) == (100, 100)


def test_a_snapshot_says_where_it_comes_from(drawn):
    assert len(drawn.provenance["files"]) == 8
    assert "CC-BY-SA-3.0" in drawn.provenance["licence"]
    assert sum(drawn.statistics["boxes"]["boxes"].values()) == 100


def test_a_digit_stands_in_its_box_and_nowhere_else():
    ground = [np.full((200, 200, 3), 100, dtype=np.uint8)]
    inks = np.zeros((5000, 28, 28), dtype=np.uint8)
    inks[:, 5:25, 8:20] = 255
    images, boxes = photographs.scenes(ground, inks, np.full(5000, 7), np.arange(30))
    for image, rows in zip(images, boxes, strict=True):
        covered = np.zeros(image.shape[:2], dtype=bool)
        for label, left, top, right, bottom in rows[rows[:, 0] >= 0].astype(int):
            assert label == 7
            assert not covered[top:bottom, left:right].any()
            covered[top:bottom, left:right] = True
        assert ((image != 100).any(axis=2) == covered).all()


def test_every_digit_is_used_once_at_the_most():
    assert photographs.SCENES * np.dot(photographs.COUNTS, range(5)) < 5000 * 0.9


def test_boxes_go_with_their_image_and_are_gone_with_most_of_their_area():
    images = np.zeros((2, 20, 20, 3), dtype=np.uint8)
    images[:, 4:8, 10:16] = 200
    boxes = np.full((2, 2, 5), -1, dtype=np.float32)
    boxes[:, 0] = (3, 10, 4, 16, 8)
    shifted, there = moved(images, boxes, np.array([[6, 1], [8, 0]]))
    assert there[0].tolist() == [[3, 16, 5, 20, 9], [-1] * 5]  # two thirds of it are left
    assert there[1].tolist() == [[-1] * 5] * 2  # a third
    assert (shifted[0, 5:9, 16:] == 200).all()
    assert shifted[0].sum() == 200 * 3 * 4 * 4
    assert (boxes[:, 0, 1] == 10).all()


def test_each_change_can_be_switched_off():
    images = np.random.default_rng(1).integers(0, 255, (4, 16, 16, 3)).astype(np.uint8)
    boxes = np.full((4, 2, 5), -1, dtype=np.float32)
    still = BoxAugmentation(shift=0, dark=0, noise=0, colours=False)
    assert (still.draw(images, boxes, np.random.default_rng(0))[0] == images).all()
    dark = BoxAugmentation(shift=0, dark=0.7, noise=0, colours=False)
    light = dark.draw(images, boxes, np.random.default_rng(0))[0].mean(axis=(1, 2, 3))
    assert (light < images.mean(axis=(1, 2, 3))).all()
    assert (light > 0.29 * images.mean(axis=(1, 2, 3))).all()


def test_boxes_are_split_as_one_stratum_and_merge_with_rows_of_the_field(drawn, tmp_path):
    split = Stratified(test=0.2, validation=0.1)
    whole = split.run(drawn, Context(scratch=tmp_path))
    assert np.bincount(whole.column("split")).tolist() == [70, 10, 20]
    field = {"image": whole.column("image")[:20]}, whole.column("boxes")[:20]
    (tmp_path / "merged").mkdir()
    merged = merge(whole, field, "field:south", tmp_path / "merged", split=split)
    assert merged.rows == 120
    assert merged.column("profile").sum() == 20
