"""A private copy of this host, to install things into: nothing of what happens in it reaches the host.

Its root is an overlay over the host's, so everything that is installed is there; /run, /tmp, /dev, network and mounts are
its own. Processes and cgroups are the host's own, since Mayfly refuses to run anywhere else, below one cgroup of a
name of its own: so all of them are found again at the end.
"""
import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parent.parent
CGROUP_ROOT = pathlib.Path("/sys/fs/cgroup")
MUST_RUN = os.environ.get("MAYFLY_TESTS_MUST_RUN") == "1"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "TERM": "dumb", "LANG": "C.UTF-8"}


def need(condition, what):
    """Skips the test program with WHAT, or fails it where skipping is not allowed."""
    if condition:
        return
    if MUST_RUN:
        raise RuntimeError(f"this test must run here, and {what}")
    raise unittest.SkipTest(what)


def have_own_plugin_directory():
    """This process and its children see no volume driver but their own: an engine waits for each one that it finds, also for
    those of other tests that are stopped or dead. In a mount namespace of our own, so nobody else sees it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000) != 0:  # CLONE_NEWNS
        raise OSError(ctypes.get_errno(), "make a mount namespace")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    pathlib.Path("/run/docker/plugins").mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/docker/plugins"], check=True)


def cgroup_hierarchies():
    """Where cgroups are mounted: one place for version 2, one for each hierarchy of version 1 and of the hybrid."""
    with open("/proc/self/mounts", encoding="utf-8") as lines:
        fields = [line.split() for line in lines]
    return [pathlib.Path(f[1]) for f in fields if f[2] in ("cgroup", "cgroup2") and f[1].startswith(str(CGROUP_ROOT))]


class Cgroup:
    """One name in every hierarchy, for all processes of a copy."""

    def __init__(self, name):
        self.name = name
        self.places = [at / name for at in cgroup_hierarchies()]

    def make(self):
        for place in self.places:
            place.mkdir()
            for file in ("cpuset.cpus", "cpuset.mems"):
                if (place / file).exists():
                    (place / file).write_text((place.parent / file).read_text())

    def enter(self):
        for place in self.places:
            (place / "cgroup.procs").write_text(str(os.getpid()))

    def processes(self):
        found = set()
        for place in self.places:
            for file in place.rglob("cgroup.procs"):
                with contextlib.suppress(OSError):
                    found.update(map(int, file.read_text().split()))
        return found

    def end(self):
        deadline = time.monotonic() + 20
        while self.processes() and time.monotonic() < deadline:
            for pid in self.processes():
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        for place in self.places:
            for directory in sorted(place.rglob("*"), key=lambda path: -len(path.parts)):
                if directory.is_dir():
                    directory.rmdir()
            if place.exists():
                place.rmdir()


class Terminal:
    """A shell in the copy at a terminal: somebody who pastes commands and answers questions."""

    PROMPT = re.compile(r"@(\d+)@ $")

    def __init__(self, host):
        self.master, slave = pty.openpty()
        # Broad enough that no line is wrapped.
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 500, 0, 0))

        def own_terminal():
            host.cgroup.enter()
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(host.command("bash", "--noprofile", "--norc", "--noediting", "-i"), env={**ENVIRONMENT, "PS1": "@$?@ "},
                                        stdin=slave, stdout=slave, stderr=slave, preexec_fn=own_terminal)
        os.close(slave)
        self.read_until_prompt({}, 20)
        self.paste("stty -echo; cd")

    def read_until_prompt(self, answers, timeout):
        deadline = time.monotonic() + timeout
        text, answered = "", 0
        while not self.PROMPT.search(text):
            ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"no end within {timeout} s:\n{text}")
            text += os.read(self.master, 65536).decode(errors="replace").replace("\r", "")
            for question, answer in answers.items():
                if text[answered:].rstrip().endswith(question):
                    answered = len(text)
                    os.write(self.master, answer.encode() + b"\n")
        return text

    def paste(self, command, answers=None, timeout=120):
        """Runs COMMAND, answering what it asks by how the question ends; its exit status and what it printed."""
        os.write(self.master, command.encode() + b"\n")
        text = self.read_until_prompt(answers or {}, timeout)
        return int(self.PROMPT.search(text).group(1)), re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.PROMPT.sub("", text))

    def close(self):
        os.close(self.master)
        self.process.wait(20)


class Host:
    def __init__(self):
        need(os.geteuid() == 0, "it needs root")
        need(shutil.which("dockerd") and shutil.which("unshare"), "there is no dockerd")
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-host-"))
        self.cgroup = Cgroup(f"mayfly-host-{os.getpid()}")
        self.first = None
        # Cleans up when we are gone, however we went.
        self.watcher = subprocess.Popen([sys.executable, __file__, self.cgroup.name, str(self.directory)], stdin=subprocess.PIPE,
                                        start_new_session=True)

    def start(self):
        self.cgroup.make()
        self.first = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "--net", "--uts", "--ipc",
             "bash", str(HERE / "copy-of-host.sh"), str(self.directory), str(TREE)],
            env=ENVIRONMENT, preexec_fn=self.cgroup.enter, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.first.stdout.readline() != "ready\n":
            raise AssertionError("the copy of this host could not be made")
        # Containers too are below our cgroup, and end with it. The engine's other settings are its own.
        (self.root / "etc/docker/daemon.json").write_text(json.dumps({"cgroup-parent": f"/{self.cgroup.name}/docker"}))
        return self

    @property
    def root(self):
        """The copy's root, as seen from the host."""
        return pathlib.Path(f"/proc/{self.first.pid}/root")

    def command(self, *words):
        return ["nsenter", f"--target={self.first.pid}", "--mount", "--net", "--uts", "--ipc", "--root", *words]

    def run(self, script, check=True, timeout=300, **options):
        """Runs SCRIPT in the copy with bash, in root's home; returns the result, with errors in its output."""
        result = subprocess.run(self.command("bash", "-c", "cd\n" + script), env=ENVIRONMENT, preexec_fn=self.cgroup.enter, text=True, timeout=timeout,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                check=False, **options)
        if check and result.returncode != 0:
            raise AssertionError(f"exit {result.returncode} from\n{script}\n{result.stdout}")
        return result

    def copy_tree(self, place="/root/mayfly"):
        """A fresh checkout of this tree in the copy: what is tracked or could be, nothing that was built."""
        git = ["git", "-C", str(TREE), "-c", f"safe.directory={TREE}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(git, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        names = listed.stdout.split(b"\0") if listed.returncode == 0 else [
            os.fsencode(path.relative_to(TREE)) for path in TREE.rglob("*") if path.is_file() and "build" not in path.parts[len(TREE.parts)]]
        names = [name for name in names if name and (TREE / os.fsdecode(name)).exists()]
        target = self.root / place.lstrip("/")
        target.mkdir(parents=True)
        packed = subprocess.run(["tar", "-C", str(TREE), "--null", "-T", "-", "-c"], input=b"\0".join(names), stdout=subprocess.PIPE, check=True)
        subprocess.run(["tar", "-C", str(target), "-x"], input=packed.stdout, check=True)
        return place

    def close(self):
        if self.first:
            for stream in (self.first.stdin, self.first.stdout):
                stream.close()
        self.watcher.stdin.close()
        status = self.watcher.wait(120)
        if self.first:
            self.first.wait()
        if status != 0:
            raise AssertionError(f"the copy of this host left something behind: {self.cgroup.name}")


def watch(cgroup, directory):
    """Waits for the end of the test, then ends and removes what is of its copy."""
    sys.stdin.read()
    Cgroup(cgroup).end()
    shutil.rmtree(directory)


if __name__ == "__main__":
    watch(*sys.argv[1:])
