"""Images are changed as a camera would, and only so."""

import numpy as np

from edgeloop.data.augment import Augmentation, changed


def dot(row: int, column: int) -> np.ndarray:
    image = np.zeros((1, 9, 9), dtype=np.uint8)
    image[0, row, column] = 200
    return image


def test_a_camera_that_changes_nothing_gives_the_same_image():
    images = np.random.default_rng(0).integers(0, 256, (4, 7, 9), dtype=np.uint8)
    assert np.array_equal(changed(images), images)


def test_a_turn_is_against_the_clock_about_the_centre():
    assert np.array_equal(changed(dot(4, 8), turn=90.0), dot(0, 4))
    assert np.array_equal(changed(dot(0, 4), turn=90.0), dot(4, 0))


def test_right_and_down_are_in_pixels():
    assert np.array_equal(changed(dot(4, 4), right=2.0, down=3.0), dot(7, 6))


def test_gain_and_offset_are_clipped_at_full_scale():
    images = np.array([[[0, 100, 200]]], dtype=np.uint8)
    assert changed(images, gain=1.2, offset=30.0).tolist() == [[[30, 150, 255]]]


def test_a_colour_image_changes_as_each_of_its_colours_would():
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    whole = changed(images, turn=20.0, right=1.5, gain=0.8)
    for colour in range(3):
        alone = changed(images[..., colour], turn=20.0, right=1.5, gain=0.8)
        assert np.array_equal(whole[..., colour], alone)


def test_each_image_gets_its_own_draw_and_a_seed_gives_the_same_draws():
    images = np.repeat(dot(4, 4), 6, axis=0)
    one = Augmentation().draw(images, np.random.default_rng(5))
    assert np.array_equal(one, Augmentation().draw(images, np.random.default_rng(5)))
    assert len({image.tobytes() for image in one}) == 6


def test_an_augmentation_of_zeros_changes_nothing():
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8), dtype=np.uint8)
    still = Augmentation(shift=0, turn=0, contrast=0, brightness=0)
    assert np.array_equal(still.draw(images, np.random.default_rng(0)), images)
