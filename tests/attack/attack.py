"""Runs every attack, first against its control, then against Mayfly, and prints the table. `scripts/attack` builds.

Usage: attack.py [WORD...]   only attacks whose name has one of the words ("row_64", "posture")
"""
import importlib
import pathlib
import sys
import textwrap
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "engine"), str(HERE.parent / "privileged")]
import attack_case  # noqa: E402  it needs the path above

# Rows 1 to 30 and 63 to 70 of the threat model that have no script here, and where they are tried.
ELSEWHERE = {
    "21, 29, 30": "what others can see and reach of our own processes: tests/engine/privileges_test.py (filters, "
                  "descriptors, core files, memory) and the mounter's seccomp filter, which lets a worker enter mount "
                  "namespaces only: no process of a container sees it",
    "28": "swap: there is none on the machines of these tests; tests/privileged/mounter_test.py looks at the tmpfs",
}
COLUMNS = (("row", 6), ("attack", 52), ("control, and what it lost", 34), ("Mayfly", 42))


def wanted(suite, words):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from wanted(test, words)
        elif not words or any(word in test.id() for word in words):
            yield test


def print_table(rows, failed):
    def line(cells):
        wrapped = [textwrap.wrap(cell, width) or [""] for cell, (_, width) in zip(cells, COLUMNS)]
        for i in range(max(map(len, wrapped))):
            parts = (part[i] if i < len(part) else "" for part in wrapped)
            print("  ".join(f"{part:{width}}" for part, (_, width) in zip(parts, COLUMNS)).rstrip())

    line([name for name, _ in COLUMNS])
    print("-" * (sum(width for _, width in COLUMNS) + 6))
    for row, title, control, loot, why in sorted(rows, key=lambda r: [int(n) for n in r[0].split(",")]):
        line([row, title, f"{control}: {loot}", why])
        print()
    for rows, why in ELSEWHERE.items():
        line([rows, f"not here: {why}", "", ""])
    for test in failed:
        print(f"\nNOT SHOWN: {test.id()}")


class Progress(unittest.TextTestResult):
    def startTest(self, test):
        super().startTest(test)
        self.begun = time.monotonic()

    def addSuccess(self, test):
        super().addSuccess(test)
        print(f"{time.monotonic() - self.begun:6.1f} s  {test.id()}", flush=True)


def main(words):
    loader = unittest.TestLoader()
    modules = [importlib.import_module(f.stem) for f in sorted(HERE.glob("*_attacks.py"))]
    suite = unittest.TestSuite(wanted(unittest.TestSuite(map(loader.loadTestsFromModule, modules)), words))
    attack_case.is_quiet = True
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=0, resultclass=Progress).run(suite)
    print()
    failed = [test for test, _ in result.failures + result.errors] + [test for test, _ in result.skipped]
    print_table(attack_case.table, failed)
    print(f"\n{len(attack_case.table)} attacks that work against their control and fail against Mayfly; "
          f"{len(failed)} of {result.testsRun} scripts failed")
    return 1 if failed or result.testsRun == 0 else 0


sys.exit(main(sys.argv[1:]))
