"""FAIR indicators: decided from files, each by what it names, and no more than files say."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lib.robot_provenance.fair import Evidence, assess, gather


@pytest.fixture(scope="module")
def evidence(published: Path) -> Evidence:
    return gather(published)


def verdicts(evidence: Evidence) -> dict[str, str]:
    return {str(k): str(v) for k, v in assess(evidence)["verdict"].items()}


def root(evidence: Evidence, **changes: object) -> Evidence:
    """Return the evidence with another root of the crate; None takes a property away."""
    node = {k: v for k, v in (evidence.root | changes).items() if v is not None}
    return replace(evidence, crate=evidence.crate | {"./": node})


def test_undecidable_are_those_that_need_an_address(evidence: Evidence, tmp_path: Path) -> None:
    for one in (evidence, gather(tmp_path), Evidence()):
        table = assess(one)
        undecided = table.index[table["verdict"] == "not decidable"]
        assert list(undecided) == ["RDA-F4-01M", "RDA-A1-02M", "RDA-A1-04M", "RDA-A2-01M"]
        assert set(table.loc[undecided, "evidence"]) == {"needs a live address"}
    assert table.index.is_unique
    assert len(table) == 20


def test_an_empty_folder_meets_nothing(tmp_path: Path) -> None:
    assert "met" not in verdicts(gather(tmp_path)).values()


def test_a_table_alone_meets_little_and_the_campaign_more(
    published: Path, evidence: Evidence, tmp_path: Path
) -> None:
    shutil.copy(published / "metrics.csv", tmp_path)
    before, after = verdicts(gather(tmp_path)), verdicts(evidence)
    met, later = (
        {name for name, verdict in table.items() if verdict == "met"} for table in (before, after)
    )
    # A table is in a public format; of a campaign's files most are, and the share depends on it.
    assert met == {"RDA-I1-01D"}
    assert len(later) > 10
    assert {"RDA-F1-02D", "RDA-F3-01M", "RDA-R1.1-03M", "RDA-R1.2-02M", "RDA-R1.3-01D"} <= later
    # Nobody has given the campaign a persistent identifier, and nothing claims that somebody has.
    assert after["RDA-F1-01M"] == "not met"


@pytest.mark.parametrize(
    ("indicator", "changes", "verdict"),
    [
        ("RDA-F1-01M", {"identifier": "https://doi.org/10.5281/zenodo.1"}, "met"),
        ("RDA-F1-01M", {"identifier": "https://example.org/data"}, "not met"),
        ("RDA-F1-02M", {"identifier": None}, "not met"),
        ("RDA-F1-02M", {"identifier": "campaign seven"}, "not met"),
        ("RDA-F1-02M", {"identifier": "arcp://name,embedded/"}, "not met"),
        ("RDA-F1-02M", {"identifier": "https://example.org/data"}, "not met"),
        ("RDA-F1-02M", {"identifier": "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8"}, "met"),
        ("RDA-F1-02M", {"identifier": "arcp://uuid,6ba7b810-9dad-11d1-80b4-00c04fd430c8/"}, "met"),
        ("RDA-F1-02M", {"identifier": "https://doi.org/10.5281/zenodo.1"}, "met"),
        ("RDA-F2-01M", {"description": None}, "not met"),
        ("RDA-F3-01M", {"hasPart": []}, "not met"),
        ("RDA-R1.1-01M", {"license": None}, "not met"),
        ("RDA-R1.1-03M", {"license": "as you like"}, "not met"),
        ("RDA-R1.1-03M", {"license": {"@id": "https://spdx.org/licenses/MIT"}}, "met"),
        ("RDA-R1.3-01M", {"conformsTo": {"@id": "https://example.org/own"}}, "not met"),
        ("RDA-R1.3-01M", {"conformsTo": {"@id": "https://w3id.org/ro/wfrun/process/0.5"}}, "met"),
    ],
)
def test_the_root_of_the_crate_decides(
    evidence: Evidence, indicator: str, changes: dict[str, object], verdict: str
) -> None:
    assert verdicts(root(evidence, **changes))[indicator] == verdict


@pytest.mark.parametrize(
    ("indicator", "properties"),
    [
        ("RDA-R1.2-02M", ("wasGeneratedBy",)),
        ("RDA-I3-01M", ("wasDerivedFrom",)),
        ("RDA-I3-03M", ("hadRole",)),
        ("RDA-R1-01M", ("startedAtTime",)),
        ("RDA-R1-01M", ("hasVersion",)),
    ],
)
def test_statements_decide(evidence: Evidence, indicator: str, properties: tuple[str, ...]) -> None:
    assert verdicts(evidence)[indicator] == "met"
    graph = type(evidence.graph)()
    for triple in evidence.graph:
        if not str(triple[1]).endswith(properties):
            graph.add(triple)
    assert len(graph) < len(evidence.graph)
    assert verdicts(replace(evidence, graph=graph))[indicator] == "not met"


def test_files_decide(evidence: Evidence) -> None:
    assert verdicts(evidence)["RDA-F1-02D"] == "met"
    more = replace(evidence, files=[*evidence.files, "runs/new.csv"])
    assert verdicts(more)["RDA-F1-02D"] == "not met"
    strange = replace(evidence, files=[f"{one}.xyz" for one in evidence.files])
    assert verdicts(strange)["RDA-I1-01D"] == "not met"
    assert verdicts(strange)["RDA-R1.3-01D"] == "not met"
    assert verdicts(replace(evidence, graph=Evidence().graph))["RDA-I1-01M"] == "not met"


def test_a_licence_as_a_text_is_one_that_no_machine_knows(tmp_path: Path) -> None:
    (tmp_path / "LICENSE.txt").write_text("do what you like", encoding="utf-8")
    found = verdicts(gather(tmp_path))
    assert found["RDA-R1.1-01M"] == "met"
    assert found["RDA-R1.1-03M"] == "not met"


def test_hidden_files_do_not_count(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "one.csv").write_text("a\n", encoding="utf-8")
    assert gather(tmp_path).files == []


def test_bad_folders_and_metadata(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        gather(tmp_path / "nowhere")
    (tmp_path / "ro-crate-metadata.json").write_text("{", encoding="utf-8")
    with pytest.raises(json.JSONDecodeError):
        gather(tmp_path)
