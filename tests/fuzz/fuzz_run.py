"""Runs one fuzz program. Usage: fuzz_run.py PROGRAM fuzz|replay CORPUS...

What libFuzzer finds lies in a temporary directory; the bytes of a failure are printed, to become a file of the corpus.
"""

import base64
import os
import pathlib
import subprocess
import sys
import tempfile


def main(program, how, *corpora):
    if how == "replay":
        return subprocess.run([program, *corpora], check=False).returncode
    with tempfile.TemporaryDirectory(prefix="mayfly-fuzz-") as directory:
        found = pathlib.Path(directory, "found")
        found.mkdir()
        # libFuzzer's own exit status for a failure, 77, means "skipped" to meson.
        seconds = os.environ.get("FUZZ_SECONDS", "10")
        status = subprocess.run(
            [
                program,
                found,
                *corpora,
                f"-max_total_time={seconds}",
                "-timeout=10",
                "-rss_limit_mb=1024",
                "-max_len=8192",
                "-print_final_stats=1",
                "-error_exitcode=1",
                "-timeout_exitcode=1",
                f"-artifact_prefix={directory}/",
            ],
            check=False,
        ).returncode
        for failure in pathlib.Path(directory).glob("*-*"):
            print(f"{failure.name}: base64 {base64.b64encode(failure.read_bytes()).decode()}")
        return status


sys.exit(main(*sys.argv[1:]))
