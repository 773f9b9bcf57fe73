"""Image folders: layouts, decoding and messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from nas.data.image_folder import ImageFolder

RNG = np.random.default_rng(0)


def draw_classes(folder: Path, counts: dict[str, int], mode: str = "RGB", suffix: str = "png") -> None:
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            values = RNG.integers(0, 256, (10, 14, 3), dtype=np.uint8)
            Image.fromarray(values).convert(mode).save(folder / name / f"{number}.{suffix}")


def test_image_folder_reads_classes_by_name(tmp_path: Path, check_splits: Callable[..., None]) -> None:
    draw_classes(tmp_path, {"cat": 12, "ant": 18})
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    splits = ImageFolder(folder=str(tmp_path), size=8).load()
    assert splits.class_names == ("ant", "cat") and splits.shape == (3, 8, 8)
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 30
    check_splits(splits)


def test_image_folder_keeps_colours_and_crops_to_the_centre(tmp_path: Path) -> None:
    for name, colour in (("a", (200, 10, 60)), ("b", (0, 0, 0))):
        (tmp_path / name).mkdir()
        for number in range(8):
            picture = Image.new("RGB", (16, 8), (255, 255, 255))
            picture.paste(colour, (4, 0, 12, 8))
            picture.save(tmp_path / name / f"{number}.PNG")
    splits = ImageFolder(folder=str(tmp_path), size=8).load()
    image = splits.train.pixels[splits.train.targets == 0][0]
    assert_array_equal(image, np.broadcast_to(np.array([200, 10, 60])[:, None, None], (3, 8, 8)))


@pytest.mark.parametrize(("mode", "suffix"), [("L", "png"), ("RGBA", "png"), ("P", "png"), ("1", "png"), ("L", "jpeg")])
def test_image_folder_reads_all_common_modes(tmp_path: Path, mode: str, suffix: str) -> None:
    draw_classes(tmp_path, {"a": 9, "b": 9}, mode, suffix)
    assert ImageFolder(folder=str(tmp_path), size=8, grayscale=True).load().shape == (1, 8, 8)
    assert ImageFolder(folder=str(tmp_path), size=8).load().shape == (3, 8, 8)


def test_image_folder_takes_a_test_folder_as_the_test_split(tmp_path: Path) -> None:
    draw_classes(tmp_path / "train", {"a": 9, "b": 9})
    draw_classes(tmp_path / "test", {"b": 4})
    splits = ImageFolder(folder=str(tmp_path), size=8).load()
    assert splits.test.targets.tolist() == [1, 1, 1, 1]
    assert len(splits.train) + len(splits.validation) == 18


def test_image_folder_with_train_alone_cuts_its_test_split(tmp_path: Path) -> None:
    draw_classes(tmp_path / "train", {"a": 10, "b": 10})
    splits = ImageFolder(folder=str(tmp_path), size=8, test=0.3).load()
    assert splits.class_names == ("a", "b") and len(splits.test) == 6


def test_image_folder_says_what_is_wrong(tmp_path: Path, refused: Callable[..., None]) -> None:
    part = ImageFolder(folder=str(tmp_path / "images"), size=8)
    folder = tmp_path / "images"
    refused(part, folder, "does not exist", f"put images into {folder}/CLASS/")
    folder.write_text("")
    refused(part, folder, "is not a folder", f"put images into {folder}/CLASS/")
    folder.unlink()
    folder.mkdir()
    refused(part, folder, "no class folders", f"{folder}/CLASS/")
    draw_classes(folder, {"a": 9, "b": 9})
    (folder / "c").mkdir()
    refused(part, folder / "c", "holds no .png, .jpg, .jpeg file", "add images or remove it")
    (folder / "c").rmdir()
    (folder / "b" / "x.png").write_bytes((folder / "b" / "0.png").read_bytes()[:60])
    refused(part, folder / "b" / "x.png", "no readable image", "replace or remove it")
    Image.fromarray(np.zeros((4, 4), dtype=np.uint16)).save(folder / "b" / "x.png")
    refused(part, folder / "b" / "x.png", "mode I", "8 bits")


def test_image_folder_refuses_test_classes_that_are_not_trained(tmp_path: Path, refused: Callable[..., None]) -> None:
    draw_classes(tmp_path / "train", {"a": 9, "b": 9})
    draw_classes(tmp_path / "test", {"z": 4})
    refused(ImageFolder(folder=str(tmp_path)), tmp_path / "test" / "z", "no folder in train/", "a, b")
