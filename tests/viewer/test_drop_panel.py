"""The page for dropping a video: what is stored, asked for and shown."""

from types import SimpleNamespace

import pytest

from viewer.drop_panel import DropPage, Wish

pytest.importorskip("viser", reason="NOT CHECKED: the extra [viewer] (viser) is not installed")


@pytest.fixture
def page(tmp_path):
    with DropPage(tmp_path / "uploads", ("geometric", "das3r"), port=0) as opened:
        yield opened


def test_an_upload_is_stored_under_a_harmless_name_and_asked_for_once(page, tmp_path):
    page.start()  # nothing to start yet
    assert page._wishes.empty()
    page.receive(SimpleNamespace(name="..\\../etc/My walk (1).MP4", content=b"film"))
    stored = tmp_path / "uploads" / "My-walk-1.mp4"
    assert stored.read_bytes() == b"film" and [path.name for path in tmp_path.rglob("*")] == ["uploads", stored.name]
    page._predictor.value, page._iterations.value = "das3r", 500
    page.start()
    page.start()  # a second click
    assert page.next_wish() == Wish(stored, "das3r", 500) and page._wishes.empty()


def test_progress_and_refusal(page):
    page.receive(SimpleNamespace(name="a.mp4", content=b"film"))
    page.start()
    page("optimizing", 30, 120)
    assert page.bar.visible and page.bar.value == 25 and "optimizing: 30 of 120" in page.stages.content
    page.refuse("This is no video.")
    assert not page.bar.visible and "This is no video." in page.words.content and not page._start.disabled


def test_a_name_of_nothing_but_signs_and_an_upload_that_is_too_large(page, tmp_path):
    page.receive(SimpleNamespace(name="???", content=b"film"))
    assert (tmp_path / "uploads" / "video.mp4").exists()

    class Large(bytes):
        def __len__(self) -> int:
            return 2_000_000_000

    page.receive(SimpleNamespace(name="large.mp4", content=Large()))
    assert "larger than 1 GB" in page.words.content and not (tmp_path / "uploads" / "large.mp4").exists()
