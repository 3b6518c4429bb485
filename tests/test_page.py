"""The page of a HealthReport: what stands on it, that it is sound, and that it needs nothing else."""

import base64
import os
from html.parser import HTMLParser

import numpy as np
import pytest
from samples import small_rows, small_trainer

from bpfast import whole
from bpfast.health import Cure, HealthReport, Verdict

CODE = 'net = bp.Network([bp.Dense(8, "relu", name="<a & b>")])\nnet.fit(X, y)  # $cheap'
ILL = Verdict("vanishing gradient", ("0", "<script>"), "It falls & falls, 6 < 7.",
              {"factor_per_layer": 6.21345, "gradient_norm": np.array([1e-9, 0.5]), "rows": 200},
              (Cure("Use <relu>", CODE), Cure("Or this", "bp.BatchNorm()")))
PLAIN = Verdict("plateau", (), "Nothing moves.", {}, ())
VOID = {"meta", "img", "br"}  # elements without an end


class Page(HTMLParser):
    """A page, of which every element must end where it should; ``texts`` has pairs of an element and a text in it."""

    def __init__(self, file):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.source = file.read_text("utf-8")
        self.feed(self.source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if text.strip():
            self.texts.append((self.open[-1], text))

    def all(self, tag):
        """The texts in elements of a kind."""
        return [text for element, text in self.texts if element == tag]


@pytest.fixture(scope="module")
def seen():
    """What a diagnosis has looked at."""
    trainer = small_trainer()
    trainer.fit(*small_rows(np.random.default_rng(0)), epochs=2, record_every=3)
    report = trainer.diagnose()
    return report.measured, report.trainer, report.rows


def test_verdicts_come_first(tmp_path, seen):
    """Names, words, figures and cures, as they are, whatever signs are in them."""
    file = tmp_path / "health.html"
    HealthReport((ILL, PLAIN), *seen).save(file)
    page = Page(file)
    assert page.all("title") == page.all("h1") == ["2 findings on this network"]
    assert page.all("h2") == ["Vanishing gradient", "Plateau", "Pictures"]
    assert {ILL.words, PLAIN.words} < set(page.all("p"))
    assert dict(zip(page.all("th"), page.all("td"))) == {
        "layers": "0, <script>", "factor per layer": "6.213", "gradient norm": "1e-09, 0.5", "rows": "200"}
    assert page.all("code") == [CODE, "bp.BatchNorm()"]
    kinds = [tag for tag, _ in page.elements]
    assert kinds.index("figure") > len(kinds) - 1 - kinds[::-1].index("pre") and kinds.count("section") == 2


def test_pictures_of_all_that_was_seen(tmp_path, seen):
    """Each with a caption, and a text for those who do not see it, within the page itself."""
    HealthReport((PLAIN,), *seen).save(tmp_path / "health.html")
    page = Page(tmp_path / "health.html")
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) == 7 and [image["alt"] for image in images] == page.all("figcaption")
    for image in images:
        kind, data = image["src"].split(",")
        assert kind == "data:image/png;base64" and base64.b64decode(data)[1:4] == b"PNG"
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "link", "iframe", "a"})
    assert "http" not in page.source and "url(" not in page.source and "@import" not in page.source
    assert [attributes.get("lang") for tag, attributes in page.elements if tag == "html"] == ["en"]
    assert ("meta", {"charset": "utf-8"}) in page.elements


def test_a_page_without_findings(tmp_path, seen):
    measured, _, rows = seen
    trainer = small_trainer()
    trainer.network.build(rows.X.shape[1:])
    HealthReport((), measured, trainer, rows).save(str(tmp_path / "health.html"))
    page = Page(tmp_path / "health.html")
    assert page.all("h1") == ["No illness was found in this network"] and page.all("h2") == ["Pictures"]
    assert len(page.all("figcaption")) == 4  # nothing was trained


def test_files_are_written_whole(tmp_path, monkeypatch, seen):
    """What fails leaves the file as it was, and no other beside it."""
    file = tmp_path / "health.html"
    file.write_text("before")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            HealthReport((PLAIN,), *seen).save(file)
    assert file.read_text() == "before" and os.listdir(tmp_path) == ["health.html"]
    whole.write(file, b"after")
    assert file.read_text() == "after" and os.listdir(tmp_path) == ["health.html"]
    with pytest.raises(FileNotFoundError, match=r"none/health\.html'$"):
        whole.write(tmp_path / "none" / "health.html", b"")
