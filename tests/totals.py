"""Adds up the cases of meson's test logs: N passed, N failed, N skipped. Usage: totals.py BUILD-DIRECTORY..."""
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def count(log):
    """Cases of one build, as (all, failed, skipped). A program that ended without its plan counts as one failed case."""
    suites = ElementTree.parse(log).getroot().findall("testsuite")
    number = lambda suite, key: int(suite.get(key, "0"))
    return tuple(sum(number(suite, key) for suite in suites for key in keys)
                 for keys in (("tests",), ("failures", "errors"), ("skipped",)))


def main(directories):
    total = failed = skipped = 0
    for directory in directories:
        log = pathlib.Path(directory) / "meson-logs/testlog.junit.xml"
        if not log.is_file():
            print(f"{directory}: no tests ran")
            failed += 1
            total += 1
            continue
        cases = count(log)
        print(f"{directory}: {cases[0]} cases, {cases[1]} failed, {cases[2]} skipped")
        total, failed, skipped = total + cases[0], failed + cases[1], skipped + cases[2]
    print(f"{total - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not total else 0


sys.exit(main(sys.argv[1:]))
