"""Chapters carry their own number, whatever else is written."""

from types import SimpleNamespace

from docutils import nodes

from tenpapers.site import number_chapters


def test_numbers_come_from_the_folder():
    toc = nodes.bullet_list()
    toc += nodes.reference("", "", secnumber=(2, 1))
    env = SimpleNamespace(
        toc_secnumbers={
            "book/ch05_collapse_warning/theory": {"": (2,), "#a": (2, 1)},
            "book/intro": {"": (7,)},
        },
        toc_fignumbers={"book/ch05_collapse_warning/theory": {"theorem": {"thm": (2, 4)}}},
        tocs={"notebooks/ch05_collapse_warning/01_ladder": toc},
        titles={"book/ch07_robot_provenance/index": nodes.title("", "", secnumber=[4])},
        longtitles={"book/intro": nodes.title("", "Ten Papers")},
    )
    number_chapters(None, env)
    assert env.toc_secnumbers["book/ch05_collapse_warning/theory"] == {"": (5,), "#a": (5, 1)}
    assert env.toc_secnumbers["book/intro"] == {"": (7,)}
    assert env.toc_fignumbers["book/ch05_collapse_warning/theory"]["theorem"]["thm"] == (5, 4)
    assert toc[0]["secnumber"] == (5, 1)
    assert env.titles["book/ch07_robot_provenance/index"]["secnumber"] == (7,)
    assert "secnumber" not in env.longtitles["book/intro"]
