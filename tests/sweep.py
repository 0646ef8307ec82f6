"""Ends and removes what tests have left: everything that carries the name of their directory. Usage: sweep.py DIRECTORY

Says what it found, and exits with 1 if there was anything: tests clean up after themselves.
"""
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

PLUGINS = pathlib.Path("/run/docker/plugins")


def command_of(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def children_of(pid):
    found = []
    with contextlib.suppress(OSError, ValueError):
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def processes(directory):
    """Those with DIRECTORY in their command line, and their children: a container's process has no name of ours."""
    found = {}
    own = {os.getpid(), os.getppid()}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        pid, command = int(entry.name), command_of(entry.name)
        if pid not in own and directory in command:
            found[pid] = command
            found.update({child: command_of(child) for child in children_of(pid)})
    return found


def mounts(directory):
    lines = pathlib.Path("/proc/self/mounts").read_text().splitlines()
    return [line.split()[1] for line in lines if line.split()[1].startswith(directory)]


def plugin_sockets():
    """Sockets that nobody serves: a dead one costs an engine 15 s at every scan."""
    return [s for s in PLUGINS.glob("mayfly*.sock")
            if f" {s}\n" not in pathlib.Path("/proc/net/unix").read_text()] if PLUGINS.is_dir() else []


def main(directory):
    left = [f"process {pid}: {command[:160]}" for pid, command in processes(directory).items()]
    for how in (signal.SIGTERM, signal.SIGKILL):
        for pid in processes(directory):
            with contextlib.suppress(OSError):
                os.kill(pid, how)
        for _ in range(50):
            if not processes(directory):
                break
            time.sleep(0.1)
    for place in reversed(mounts(directory)):
        left.append(f"mount {place}")
        subprocess.run(["umount", "-l", place], check=False)
    for path in plugin_sockets():
        left.append(f"socket {path}")
        path.unlink()
    print("\n".join(left) if left else "nothing")
    return 1 if left else 0


sys.exit(main(sys.argv[1]))
