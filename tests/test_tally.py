"""`make test` and CI end with one line that adds up every report."""

import subprocess
import sys
from pathlib import Path

TALLY = Path(__file__).parents[1] / "tools/tally.py"
REPORT = """<testsuites><testsuite>
<testcase name="a"/><testcase name="b"><skipped/></testcase>{}
</testsuite></testsuites>"""


def tally(folder: Path, *cases: str) -> tuple[str, int]:
    reports = [folder / f"{n}.xml" for n in range(len(cases))]
    for report, case in zip(reports, cases, strict=True):
        report.write_text(REPORT.format(case))
    done = subprocess.run([sys.executable, TALLY, *reports], capture_output=True, text=True, timeout=20)
    return done.stdout.strip(), done.returncode


def test_reports_add_up(tmp_path: Path) -> None:
    assert tally(tmp_path, "", '<testcase name="c"/>') == ("3 passed, 0 failed, 2 skipped", 0)


def test_a_case_that_fails_twice_failed_once(tmp_path: Path) -> None:
    twice = '<testcase name="c"><failure/><error/></testcase>'
    assert tally(tmp_path, "", twice) == ("2 passed, 1 failed, 2 skipped", 1)


def test_no_test_at_all_is_a_failure(tmp_path: Path) -> None:
    assert tally(tmp_path) == ("0 passed, 0 failed, 0 skipped", 1)
