"""What others read of the repository: how to cite it, what runs before a commit, and what runs on a push."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

import ftsf_export

ROOT = Path(__file__).parents[2]
PAPERS = {"2009.14794", "2108.09084", "2102.05095", "2104.09864"}


def test_the_citation_names_this_version_and_the_four_papers() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["cff-version"], cited["version"]) == ("1.2.0", ftsf_export.__version__)
    assert {paper["url"].rpartition("/")[2] for paper in cited["references"]} == PAPERS
    for paper in cited["references"]:
        assert paper["type"], paper["title"]
        assert all(author["family-names"] and author["given-names"] for author in paper["authors"])


def test_what_runs_before_a_commit_is_in_the_projects_environment_and_in_scripts_test() -> None:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    checks = (ROOT / "scripts" / "test").read_text(encoding="utf-8")
    for hook in repositories[0]["hooks"]:
        assert hook["language"] == "system"
        tool, *arguments = hook["entry"].split()
        wanted = " ".join(word for word in arguments if word != "--force-exclude")
        assert re.search(rf'"\$bin/{Path(tool).name}" ?{wanted}', checks), hook["entry"]


def test_a_push_runs_scripts_test_on_the_python_that_the_pins_are_for() -> None:
    (job,) = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))["jobs"].values()
    assert "scripts/test" in [step.get("run") for step in job["steps"]]
    assert [step["with"]["python-version"] for step in job["steps"] if "with" in step] == ["3.11"]
