"""Shows that the end-to-end tests can fail: breaks Gnomon in named ways and sees them notice.

Each `*.patch` here begins with lines `# test: <pytest node>`. It must apply to a copy of the tree,
and each test that it names must then fail by an assertion; before, on an unbroken copy, all of
them must pass. Exits 0 only if all of that held. Names on the command line choose patches.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
COPIED = ("src", "tests", "examples", "pyproject.toml", "README.md", "LICENSE")
# One mutation takes about 15 s; a hang is a failure of the mutation run.
TIME_LIMIT_S = 300
WORKERS = 2


@dataclass(frozen=True)
class Mutation:
    """A patch and the tests that must notice it."""

    path: Path
    tests: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.path.stem


def read(path: Path) -> Mutation:
    lines = path.read_text().splitlines()
    tests = tuple(line.removeprefix("# test: ") for line in lines if line.startswith("# test: "))
    if not tests:
        sys.exit(f"{path.name} names no test.")
    return Mutation(path, tests)


def copy_tree(target: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, target / name, ignore=shutil.ignore_patterns("__pycache__", ".*")
            )
        else:
            shutil.copy(source, target / name)


def run_tests(tree: Path, tests: tuple[str, ...]) -> dict[str, str]:
    """Test name to `passed`, or to what ended it."""
    report = tree / "report.xml"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *(f"--junitxml={report}", *tests),
        ],
        cwd=tree,
        # The copy's package, in the tests and in every process that they start.
        env={**os.environ, "PYTHONPATH": str(tree / "src")},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
    if not report.exists():
        return {"pytest": done.stdout[-2000:] + done.stderr[-2000:]}
    results: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):
        ended = [child for child in case if child.tag in {"failure", "error", "skipped"}]
        results[str(case.get("name"))] = ended[0].get("message", "") if ended else "passed"
    return results


def check_baseline(mutations: list[Mutation]) -> list[str]:
    tests = tuple(dict.fromkeys(test for mutation in mutations for test in mutation.tests))
    with tempfile.TemporaryDirectory(prefix="gnomon-unbroken-") as directory:
        tree = Path(directory)
        copy_tree(tree)
        results = run_tests(tree, tests)
    if len(results) < len(tests):
        return [f"only {len(results)} of {len(tests)} tests ran on the unbroken tree"]
    return [
        f"{name} fails on the unbroken tree: {r}" for name, r in results.items() if r != "passed"
    ]


def check(mutation: Mutation) -> list[str]:
    """What is wrong with a mutation: nothing if every test named noticed it by an assertion."""
    with tempfile.TemporaryDirectory(prefix="gnomon-broken-") as directory:
        tree = Path(directory)
        copy_tree(tree)
        applied = subprocess.run(
            ["git", "apply", "-p1", str(mutation.path)],
            cwd=tree,
            capture_output=True,
            text=True,
            check=False,
        )
        if applied.returncode != 0:
            return [f"{mutation.name}: the patch does not apply:\n{applied.stderr}"]
        results = run_tests(tree, mutation.tests)
    problems = []
    if len(results) < len(mutation.tests):
        problems.append(f"{mutation.name}: only {len(results)} tests ran")
    for name, result in results.items():
        if result == "passed":
            problems.append(f"{mutation.name}: {name} did not notice")
        elif not result.startswith(("AssertionError", "assert ")):
            problems.append(f"{mutation.name}: {name} failed, but by no assertion: {result}")
        else:
            print(f"  {mutation.name}: noticed by {name}: {result.splitlines()[0][:100]}")
    return problems


def main() -> int:
    chosen = set(sys.argv[1:])
    mutations = [read(path) for path in sorted(HERE.glob("*.patch"))]
    if chosen:
        mutations = [mutation for mutation in mutations if mutation.name in chosen]
    if not mutations:
        print("There is no such mutation.")
        return 1
    problems = check_baseline(mutations)
    if not problems:
        with ThreadPoolExecutor(WORKERS) as pool:
            for found in pool.map(check, mutations):
                problems += found
    for problem in problems:
        print(problem)
    print(f"{len(mutations)} mutations, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
