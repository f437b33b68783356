from __future__ import annotations

from xml.etree import ElementTree

from toolkit.report.svg import element, group, picture, text, titled

HOSTILE = "\"><script>alert('1')</script>&amp;"


def test_words_and_attributes_survive_an_xml_reader() -> None:
    drawn = picture(10, 20.5, HOSTILE, group(titled(HOSTILE), text(HOSTILE, 1.234, 2, cls=HOSTILE)), HOSTILE)
    root = ElementTree.fromstring(str(drawn))
    assert root.attrib["aria-label"] == HOSTILE
    assert root.attrib["viewBox"] == "0 0 10 20.5"
    assert root[0][0].text == HOSTILE
    assert root[0][1].text == HOSTILE
    assert root[0][1].attrib == {"x": "1.23", "y": "2", "class": HOSTILE}
    assert root[0].tail == HOSTILE


def test_none_leaves_an_attribute_out() -> None:
    assert (
        str(element("rect", x=1, rx=None, cls="a", stroke_width=2)) == '<rect x="1" class="a" stroke-width="2"></rect>'
    )
