"""Runs the unittest cases of a file and prints TAP, so that meson counts every case.

Usage: tap.py FILE [NAME...]  A name is a class or Class.test; without one, all of the file.
With MAYFLY_TESTS_MUST_RUN=1 a skipped case fails: on a machine that can run everything, a skip is a hole.
"""
import importlib.util
import os
import pathlib
import sys
import time
import traceback
import unittest

MUST_RUN = os.environ.get("MAYFLY_TESTS_MUST_RUN") == "1"


class Tap(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.number = 0
        self.begun = time.monotonic()
        self.failed = False

    def say(self, ok, test, comment=""):
        self.number += 1
        self.failed = self.failed or not ok
        name = test.id().split(".", 1)[-1].replace("#", "")
        print(f"{'ok' if ok else 'not ok'} {self.number} - {name}{comment}", flush=True)
        self.begun = time.monotonic()

    def explain(self, error):
        for line in "".join(traceback.format_exception(*error)).splitlines():
            print(f"# {line}", flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        print(f"# {time.monotonic() - self.begun:.1f} s")
        self.say(True, test)

    def addError(self, test, err):
        super().addError(test, err)
        self.explain(err)
        self.say(False, test)

    def addFailure(self, test, err):
        self.addError(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            self.explain(err)
            self.say(False, subtest)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.say(not MUST_RUN, test, f" # SKIP {reason}")


def main(path, names):
    path = pathlib.Path(path).resolve()
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromNames(names, module) if names else loader.loadTestsFromModule(module)
    result = Tap()
    suite.run(result)
    print(f"1..{result.number}", flush=True)
    return 1 if result.failed or result.number == 0 else 0


sys.exit(main(sys.argv[1], sys.argv[2:]))
