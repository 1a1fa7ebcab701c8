"""Adds up test reports: `tally.py REPORT.xml…` prints how many tests passed, failed and were skipped."""

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree


def tally(reports: list[Path]) -> Counter[str]:
    """Count the test cases of JUnit reports; a case that errors outside its body failed too."""
    total: Counter[str] = Counter()
    for report in reports:
        for case in ElementTree.parse(report).iter("testcase"):
            outcomes = {child.tag for child in case}
            failed = not outcomes.isdisjoint({"failure", "error"})
            total["failed" if failed else "skipped" if "skipped" in outcomes else "passed"] += 1
    return total


def main(*reports: str) -> None:
    """Print the sum of the reports, and end with 1 if a test failed or none passed."""
    total = tally([Path(report) for report in reports])
    print(", ".join(f"{total[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped")))
    sys.exit(bool(total["failed"]) or not total["passed"])


if __name__ == "__main__":
    main(*sys.argv[1:])
