"""mayfly-mounter against the real kernel: phases, names, marks, release, wiping, adoption, hostile requests."""
import ctypes
import errno
import mmap
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from mounter_client import (ATTACHED, EMPTY, FAN_ALLOW, FAN_DENY, KEEP_GUARD, KEEP_PREVIOUS, LIBC, ON_HOST_PATH, LOCATED, MADE, PLAIN, RELEASED,
                            REQUEST, SAME_MOUNT_NAMESPACE, SEE_CLOSES, TARGET_UNREACHABLE, WIPED, WITH_ENGINE, Mounter, OP, pidfd_open)

PROGRAM = os.environ["MAYFLY_MOUNTER"]
MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 4096, 16384, 1 << 18, 2
VALUE = b"the value of a secret"


def mount(source, target, kind=None, flags=0, data=None):
    encode = lambda text: text.encode() if text else None
    if LIBC.mount(encode(source), encode(target), encode(kind), flags, encode(data)) != 0:
        raise OSError(ctypes.get_errno(), f"mount {source} {target}")


class Container:
    """A process in a mount namespace of its own, with the host path bound to TARGET in a root of its own: what runc does."""

    SCRIPT = r"""
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
root, source, target, rest = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
def check(r):
    if r != 0: raise OSError(ctypes.get_errno(), "setting up")
if "userns" in rest:
    check(libc.unshare(0x10000000))
    os.write(1, b"m"); os.read(0, 1)
check(libc.unshare(0x20000))
check(libc.mount(None, b"/", None, 16384 | (1 << 18), None))
check(libc.mount(root.encode(), root.encode(), None, 4096 | 16384, None))
os.makedirs(root + "/" + target, exist_ok=True)
check(libc.mount(source.encode(), (root + "/" + target).encode(), None, 4096 | 16384, None))
if "hanging" in rest:
    os.makedirs(root + "/hanging", exist_ok=True)
    fuse = os.open("/dev/fuse", os.O_RDWR)
    check(libc.mount(b"hanging", (root + "/hanging").encode(), b"fuse", 0,
                     b"fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % fuse))
os.chdir(root); os.mkdir("old") if not os.path.exists("old") else None
check(libc.syscall(155, b".", b"old"))
os.chdir("/"); check(libc.umount2(b"/old", 2))
if "closed" in rest: os.chmod("/" + target.split("/")[0], 0o700); os.chown("/" + target.split("/")[0], 1234, 1234)
os.write(1, b"r")
while True:
    line = sys.stdin.readline()
    if not line: break
    command, _, path = line.strip().partition(" ")
    try:
        with open(path, "rb") as file: os.write(1, b"+" + file.read().hex().encode() + b"\n")
    except OSError as problem:
        os.write(1, b"-%d\n" % problem.errno)
"""

    def __init__(self, source, target="run/secrets", *rest):
        self.root = tempfile.mkdtemp(prefix="mayfly-mounter-root-")
        os.chmod(self.root, 0o755)
        self.target = target
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.SCRIPT, self.root, source, target, *rest],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if "userns" in rest:
            assert self.process.stdout.read(1) == b"m"
            for kind in ("uid", "gid"):
                with open(f"/proc/{self.process.pid}/{kind}_map", "w") as file:
                    file.write("0 100000 65536")
            os.chown(self.root, 100000, 100000)
            self.process.stdin.write(b"x")
            self.process.stdin.flush()
        assert self.process.stdout.read(1) == b"r"
        self.pidfd = pidfd_open(self.process.pid)

    def ask(self, path):
        self.process.stdin.write(f"read {path}\n".encode())
        self.process.stdin.flush()

    def has_told(self, timeout=5):
        return bool(select.select([self.process.stdout], [], [], timeout)[0])

    def told(self):
        """Bytes, or a negative errno."""
        line = self.process.stdout.readline().strip()
        return bytes.fromhex(line[1:].decode()) if line[:1] == b"+" else -int(line[1:])

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        os.close(self.pidfd)
        subprocess.run(["rm", "-rf", self.root], check=True)


def wait_until(condition, what, timeout=10):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {timeout} s: {what}")
        time.sleep(0.005)


class Freezer:
    """A cgroup of version 1 that does not let a process end, not even by SIGKILL."""

    def __init__(self, test):
        self.directory = f"/sys/fs/cgroup/freezer/mayfly-mounter-{os.getpid()}"
        if not os.path.isdir("/sys/fs/cgroup/freezer"):
            if os.environ.get("MAYFLY_TESTS_MUST_RUN") == "1":
                raise RuntimeError("this test must run here, and there is no freezer")
            test.skipTest("there is no cgroup freezer")
        os.mkdir(self.directory)
        test.addCleanup(self.close)

    def write(self, name, text):
        with open(f"{self.directory}/{name}", "w", encoding="ascii") as file:
            file.write(text)

    def freeze(self, pid):
        self.write("cgroup.procs", str(pid))
        self.write("freezer.state", "FROZEN")

    def thaw(self):
        self.write("freezer.state", "THAWED")

    def close(self):
        self.thaw()

        def is_removed():
            try:
                os.rmdir(self.directory)
            except OSError as problem:
                return problem.errno != errno.EBUSY
            return True

        wait_until(is_removed, "the freezer's cgroup is empty")


class MounterTest(unittest.TestCase):
    wrapper = ()

    def setUp(self):
        self.volumes = tempfile.mkdtemp(prefix="mayfly-mounter-")
        mount("mayfly-volumes", self.volumes, "tmpfs", 0, "mode=0700")
        mount(None, self.volumes, None, MS_PRIVATE)
        self.addCleanup(self.unmount)
        self.mounter = Mounter(PROGRAM, self.volumes, wrapper=self.wrapper)
        self.addCleanup(self.mounter.close)
        self.engine = pidfd_open(os.getpid())
        self.addCleanup(os.close, self.engine)
        self.delivery = os.urandom(32)
        self.host_path = os.path.join(self.volumes, self.delivery.hex())

    def unmount(self):
        LIBC.umount2(self.volumes.encode(), MNT_DETACH)
        os.rmdir(self.volumes)

    def call(self, op, status=0, **fields):
        fields.setdefault("delivery", self.delivery)
        reply = self.mounter.call(op, **fields)
        self.assertEqual(reply.status, status, reply)
        return reply

    def make_file(self, name="password", generation=1, mode=0o400, uid=0, gid=0, size=len(VALUE)):
        return self.call("FILE", name=name, generation=generation, mode=mode, uid=uid, gid=gid, size_bytes=size).fd

    def arm(self, flags=0, **file):
        self.device = self.call("MAKE", size_bytes=1 << 20, inodes=64, flags=flags).device
        writer = self.make_file(**file)
        self.call("COMMIT", generation=1)
        self.call("MARK", group=0)
        self.call("ATTACH", fds=[self.engine])
        self.addCleanup(self.try_wipe)
        return writer

    def try_wipe(self):
        if self.mounter.process.poll() is None and self.mounter.broker.fileno() >= 0:
            self.mounter.call("WIPE", delivery=self.delivery)

    def container(self, *rest, source=None, target="run/secrets"):
        container = Container(source or self.host_path, target, *rest)
        self.addCleanup(container.close)
        return container

    def release(self, container, writer, flags=0, waiting=None):
        """WAITING, an open of the container's, is through before the marks change hands: one that is still in the kernel's
        list of groups when the shared one's mark is added is asked for a second time, there."""
        located = self.call("LOCATE", name=container.target, fds=[container.pidfd])
        os.write(writer, VALUE)
        os.close(writer)
        self.call("SEAL")
        if waiting:
            waiting.answer(FAN_ALLOW)
            self.assertTrue(container.has_told())
        self.call("RETREAT", flags=flags)
        return located

    # -- the way of a delivery

    def test_a_delivery_from_make_to_forget(self):
        writer = self.arm(uid=1000, gid=1001, mode=0o440)
        container = self.container()
        container.ask("/run/secrets/password")
        event = self.mounter.next_event(0)
        self.assertEqual(event.pid, container.process.pid)
        located = self.release(container, writer, waiting=event)
        self.assertEqual(located.phase, LOCATED)
        self.assertEqual(container.told(), VALUE)
        container.ask("/run/secrets/password")
        self.assertEqual(container.told(), VALUE, "an open after the retreat asks nobody")
        self.assertEqual(os.listdir(self.host_path), [], "the host path is empty and stays")
        root = f"/proc/{container.process.pid}/root/run/secrets"
        self.assertEqual(sorted(os.listdir(root)), ["..a", "..data", "password"])
        status = os.stat(f"{root}/password")
        self.assertEqual((status.st_uid, status.st_gid, status.st_mode & 0o777), (1000, 1001, 0o440))
        self.assertEqual(self.call("WIPE").phase, WIPED)
        self.assertEqual(os.listdir(root), [])
        self.call("FORGET")
        self.assertFalse(os.path.exists(self.host_path))

    def test_subdirectories_and_links(self):
        self.arm(name="keys/tls/server.pem")
        listing = sorted(os.listdir(self.host_path))
        self.assertEqual(listing, ["..a", "..data", "keys"])
        self.assertEqual(os.readlink(f"{self.host_path}/keys"), "..data/keys")
        self.assertEqual(os.stat(f"{self.host_path}/keys/tls").st_mode & 0o777, 0o755)

    def next_generation(self, generation, *names, flags=0, content=None, **file):
        """A generation of NAMES with CONTENT (default: its number)."""
        self.call("UNSEAL")
        for name in names:
            writer = self.make_file(name, generation=generation, **file)
            os.pwrite(writer, content or f"{generation:{len(VALUE)}}".encode(), 0)
            os.close(writer)
        self.call("COMMIT", generation=generation, flags=flags)
        self.call("SEAL")

    def seen(self):
        """What a program that lists the directory meets, and what it reads."""
        found = {}
        for folder, _, names in os.walk(self.host_path, followlinks=True):
            relative = os.path.relpath(folder, self.host_path)
            if not any(part.startswith("..") for part in relative.split("/")) or relative == ".":
                found.update({os.path.normpath(os.path.join(relative, name)): self.read(os.path.join(folder, name))
                              for name in names if not name.startswith("..")})
        return found

    def read(self, path):
        """Through the broker's eyes: every open is allowed."""
        value = []
        reader = threading.Thread(target=lambda: value.append(pathlib.Path(path).read_bytes()))
        reader.start()
        while reader.is_alive():
            event = self.mounter.next_event(0, timeout=0.05)
            if event:
                event.answer(FAN_ALLOW)
        reader.join()
        return value[0]

    def test_a_second_generation_replaces_the_first(self):
        os.close(self.arm())
        self.next_generation(2, "password", "added")
        self.assertEqual(sorted(os.listdir(self.host_path)),
                         ["..b", "..data", "..data_next", "..spare0", "added", "password"])
        self.assertEqual(os.stat(f"{self.host_path}/..spare0/password").st_size, 0, "an older one is emptied")
        self.next_generation(3, "added")
        self.assertEqual(list(self.seen()), ["added"])
        self.assertEqual(os.readlink(f"{self.host_path}/..data"), "..a")

    def test_the_previous_generation_can_be_read_until_it_is_cleaned(self):
        for flags in (0, PLAIN):
            with self.subTest(flags=flags):
                self.delivery = os.urandom(32)
                self.host_path = os.path.join(self.volumes, self.delivery.hex())
                os.close(self.arm(flags=flags, name="sub/password"))
                self.next_generation(2, "sub/password")
                held = self.hold(f"{self.host_path}/sub/password")
                directory = os.open(f"{self.host_path}/{'sub' if flags else '..data/sub'}", os.O_RDONLY)
                self.addCleanup(os.close, directory)
                self.next_generation(3, "sub/password", "b", flags=KEEP_PREVIOUS)
                self.assertEqual(os.pread(held, 99, 0).strip(), b"2")
                if not flags:
                    self.assertEqual(os.listdir(directory), ["password"], "a directory that is open is one generation")
                for content in (b"2", b""):
                    self.call("UNSEAL")
                    self.call("CLEAN", flags=KEEP_PREVIOUS)
                    self.call("SEAL")
                    self.assertEqual(os.pread(held, 99, 0).strip(), content)
                self.assertEqual({name: value.strip() for name, value in self.seen().items()},
                                 {"sub/password": b"3", "b": b"3"})

    def hold(self, path, flags=os.O_RDONLY):
        """A descriptor, allowed by the broker."""
        opened = []
        opener = threading.Thread(target=lambda: opened.append(os.open(path, flags)))
        opener.start()
        while opener.is_alive():
            event = self.mounter.next_event(0, timeout=0.05)
            if event:
                event.answer(FAN_ALLOW)
        self.addCleanup(os.close, opened[0])
        return opened[0]

    def test_hundreds_of_generations_need_no_more_room_than_a_few(self):
        for flags in (0, PLAIN):
            with self.subTest(flags=flags):
                self.delivery = os.urandom(32)
                self.host_path = os.path.join(self.volumes, self.delivery.hex())
                os.close(self.arm(flags=flags))
                self.next_generation(2, "password", "keys/api")
                held = [self.hold(f"{self.host_path}/password"), self.hold(f"{self.host_path}/keys", os.O_PATH)]
                os.pread(held[0], 99, 0)
                for generation in range(3, 303):
                    self.next_generation(generation, "password", "keys/api")
                    self.assertEqual(os.pread(held[0], 99, 0), b"")
                self.assertGreater(os.statvfs(self.host_path).f_ffree, 16)
                self.assertEqual({name: value.strip() for name, value in self.seen().items()},
                                 {"password": b"302", "keys/api": b"302"})
                del held

    def test_what_is_held_of_an_older_generation_does_not_keep_it_from_being_sealed(self):
        os.close(self.arm())
        for path in ("password", "..a/password", "..a", "..data"):
            self.addCleanup(os.close, os.open(f"{self.host_path}/{path}", os.O_PATH | os.O_NOFOLLOW))
        self.next_generation(2, "password")

    def test_a_held_file_never_gets_what_comes_later(self):
        os.close(self.arm())
        self.next_generation(2, "password")
        held = self.hold(f"{self.host_path}/password")
        for generation in range(3, 60):
            self.next_generation(generation, "password")
            self.assertEqual(os.pread(held, 99, 0), b"")

    def test_what_a_spare_generation_has_too_much_is_not_seen(self):
        for flags in (0, PLAIN):
            with self.subTest(flags=flags):
                self.delivery = os.urandom(32)
                self.host_path = os.path.join(self.volumes, self.delivery.hex())
                os.close(self.arm(flags=flags))
                self.next_generation(2, "a", "b/c", "d")
                self.next_generation(3, "a")
                self.next_generation(4, "a", "b")
                self.assertEqual({name: value.strip() for name, value in self.seen().items()}, {"a": b"4", "b": b"4"})
                self.next_generation(5, "d/e")
                self.assertEqual({name: value.strip() for name, value in self.seen().items()}, {"d/e": b"5"})

    def test_the_same_file_twice_in_a_generation_is_refused(self):
        os.close(self.arm())
        os.close(self.make_file("password", generation=2))
        self.call("FILE", -errno.EEXIST, name="password", generation=2, mode=0o400, size_bytes=8)

    def test_plain_layout_has_neither_links_nor_dots(self):
        os.close(self.arm(flags=PLAIN, name="a/b"))
        self.assertEqual(os.listdir(self.host_path), ["a"])
        before = os.stat(f"{self.host_path}/a/b").st_ino
        self.next_generation(2, "a/b", "c")
        self.assertEqual(sorted(os.listdir(self.host_path)), ["a", "c"])
        self.assertNotEqual(os.stat(f"{self.host_path}/a/b").st_ino, before)
        self.next_generation(3, "a")
        self.assertEqual(os.listdir(self.host_path), ["a"])
        self.assertTrue(os.path.isfile(f"{self.host_path}/a"))

    def signalled(self):
        """The init of a pid namespace of its own that tells its signals, and its pidfd."""
        process = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c",
             "trap 'echo HUP' HUP; echo ready; while :; do sleep 0.02; done"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "ready\n")
        init = int(pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        descriptor = pidfd_open(init)
        self.addCleanup(os.close, descriptor)
        return process, descriptor

    def test_a_signal_reaches_a_process_of_the_container_and_nobody_elses(self):
        process, init = self.signalled()
        _, other = self.signalled()
        self.call("SIGNAL", delivery=bytes(32), mode=signal.SIGHUP, fds=[init, init])
        self.assertEqual(process.stdout.readline(), "HUP\n")
        self.call("SIGNAL", -errno.EPERM, delivery=bytes(32), mode=signal.SIGHUP, fds=[init, other])
        self.call("SIGNAL", -errno.EPERM, delivery=bytes(32), mode=signal.SIGHUP, fds=[init, self.engine])
        self.call("SIGNAL", -errno.EPERM, delivery=bytes(32), mode=signal.SIGHUP, fds=[self.engine, self.engine])
        self.call("SIGNAL", -errno.EBADF, delivery=bytes(32), mode=signal.SIGHUP, fds=[init])

    def test_an_open_that_waits_while_the_marks_change_hands_is_asked_for_again(self):
        writer = self.arm()
        container = self.container()
        container.ask("/run/secrets/password")
        event = self.mounter.next_event(0)
        self.release(container, writer)
        event.answer(FAN_ALLOW)
        again = self.mounter.next_event(2, timeout=1)
        if again:  # the kernel orders groups by their address: the shared one comes later, or not at all
            again.answer(FAN_ALLOW)
        self.assertEqual(container.told(), VALUE)

    # -- what stays closed

    def test_a_copy_made_while_armed_stays_guarded_after_release(self):
        neighbour = Container(self.volumes, "x")
        self.addCleanup(neighbour.close)
        writer = self.arm()
        copy = Container(self.volumes, "x")
        self.addCleanup(copy.close)
        container = self.container()
        self.release(container, writer)
        container.ask("/run/secrets/password")
        self.assertEqual(container.told(), VALUE)
        copy.ask(f"/x/{self.delivery.hex()}/password")
        event = self.mounter.next_event(2)
        self.assertIsNotNone(event, "the shared group is asked")
        event.answer(FAN_DENY)
        self.assertEqual(copy.told(), -errno.EPERM)

    def test_with_keep_guard_every_open_is_asked_for(self):
        writer = self.arm()
        container = self.container()
        self.release(container, writer, flags=2)
        for answer, told in ((FAN_ALLOW, VALUE), (FAN_DENY, -errno.EPERM)):
            container.ask("/run/secrets/password")
            self.mounter.next_event(2).answer(answer)
            self.assertEqual(container.told(), told)

    def test_closes_are_told_after_the_release_where_that_is_wanted(self):
        for flags, told in ((KEEP_GUARD | SEE_CLOSES, True), (KEEP_GUARD, False)):
            with self.subTest(flags=flags):
                self.delivery = os.urandom(32)
                self.host_path = os.path.join(self.volumes, self.delivery.hex())
                writer = self.arm()
                container = self.container()
                inode = os.fstat(writer).st_ino
                self.release(container, writer, flags=flags)
                container.ask("/run/secrets/password")
                self.mounter.next_event(2).answer(FAN_ALLOW)
                self.assertEqual(container.told(), VALUE)
                self.mounter.closed.clear()
                self.assertIsNone(self.mounter.next_event(2, timeout=0.3))
                self.assertEqual(self.mounter.closed, [(2, inode)] if told else [])

    def test_a_released_delivery_can_be_guarded_again(self):
        writer = self.arm()
        container = self.container()
        self.release(container, writer)
        container.ask("/run/secrets/password")
        self.assertEqual(container.told(), VALUE)
        self.call("LOCATE", name=container.target, fds=[container.pidfd])
        self.assertEqual(self.call("RETREAT", flags=KEEP_GUARD).phase, RELEASED)
        container.ask("/run/secrets/password")
        self.mounter.next_event(2).answer(FAN_DENY)
        self.assertEqual(container.told(), -errno.EPERM)

    def test_the_container_cannot_write(self):
        writer = self.arm(mode=0o666)
        container = self.container()
        self.release(container, writer)
        path = f"/proc/{container.process.pid}/root/run/secrets"
        for action in (lambda: open(f"{path}/password", "r+b"), lambda: open(f"{path}/new", "wb"),
                       lambda: os.unlink(f"{path}/password"), lambda: os.chmod(f"{path}/password", 0o777)):
            with self.assertRaises(OSError) as caught:
                action()
            self.assertEqual(caught.exception.errno, errno.EROFS)

    def test_another_container_with_the_same_volume_is_not_the_one(self):
        self.arm()
        other = Container(tempfile.gettempdir(), "run/secrets")
        self.addCleanup(other.close)
        self.call("LOCATE", -errno.ENODEV, name="run/secrets", fds=[other.pidfd])

    def test_a_copy_of_the_volumes_directory_does_not_count_as_target(self):
        self.arm()
        copy = Container(self.volumes, "x")
        self.addCleanup(copy.close)
        self.call("LOCATE", -errno.ENODEV, name=f"x/{self.delivery.hex()}", fds=[copy.pidfd])

    def test_a_link_at_the_target_is_not_followed(self):
        self.arm()
        copy = Container(self.volumes, "x")
        self.addCleanup(copy.close)
        os.symlink(f"/x/{self.delivery.hex()}", f"{copy.root}/link")
        self.call("LOCATE", -errno.ELOOP, name="link", fds=[copy.pidfd])

    def test_the_host_itself_is_never_the_container(self):
        self.arm()
        self.call("LOCATE", -errno.EPERM, name="tmp", fds=[self.engine])

    def test_a_target_behind_a_closed_directory_is_found_without_walking(self):
        writer = self.arm()
        container = self.container("closed", target="home/app/secrets")
        located = self.release(container, writer)
        self.assertTrue(located.flags & TARGET_UNREACHABLE)
        container.ask("/home/app/secrets/password")
        self.mounter.next_event(2).answer(FAN_ALLOW)
        self.assertEqual(container.told(), VALUE)

    # -- wiping

    def test_held_descriptors_and_mappings_read_nothing_after_the_wipe(self):
        writer = self.arm(mode=0o444)
        container = self.container()
        self.release(container, writer)
        held = os.open(f"/proc/{container.process.pid}/root/run/secrets/password", os.O_RDONLY)
        mapped = mmap.mmap(held, len(VALUE), prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
        self.assertEqual(os.pread(held, 100, 0), VALUE)
        self.call("WIPE")
        self.assertEqual(os.pread(held, 100, 0), b"")
        os.close(held)
        del mapped

    def two_files(self, flags=0):
        """A released delivery with the files password and keys/api, and its container."""
        self.device = self.call("MAKE", size_bytes=1 << 20, inodes=64, flags=flags).device
        writers = [self.make_file("password", mode=0o444), self.make_file("keys/api", mode=0o444)]
        self.call("COMMIT", generation=1)
        self.call("MARK", group=0)
        self.call("ATTACH", fds=[self.engine])
        self.addCleanup(self.try_wipe)
        os.write(writers[0], VALUE)
        os.close(writers[0])
        container = self.container()
        self.release(container, writers[1])
        return f"/proc/{container.process.pid}/root/run/secrets"

    def test_one_file_is_taken_and_the_other_stays(self):
        for flags, path in ((0, "password"), (PLAIN, "password"), (0, "keys/api"), (PLAIN, "keys/api")):
            with self.subTest(flags=flags, path=path):
                self.delivery = os.urandom(32)
                self.host_path = os.path.join(self.volumes, self.delivery.hex())
                root = self.two_files(flags)
                other = "keys/api" if path == "password" else "password"
                held = os.open(f"{root}/{path}", os.O_RDONLY)
                self.addCleanup(os.close, held)
                mapped = mmap.mmap(held, len(VALUE), prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
                self.call("TAKE", name=path)
                self.assertEqual(os.pread(held, 100, 0), b"")
                self.assertFalse(os.path.lexists(f"{root}/{path}"))
                self.assertEqual(pathlib.Path(f"{root}/{other}").read_bytes(), VALUE)
                self.call("TAKE", name=path)
                # Sealed again, although the taken file is still held open and mapped.
                self.assertTrue(os.statvfs(root).f_flag & os.ST_RDONLY)
                with self.assertRaises(OSError):
                    os.open(f"{root}/{other}", os.O_WRONLY)
                del mapped

    def test_a_file_that_never_was_is_taken_without_complaint(self):
        root = self.two_files()
        self.call("TAKE", name="no/such/file")
        self.assertEqual(pathlib.Path(f"{root}/password").read_bytes(), VALUE)

    # -- the hard end

    def empty_within(self, root, seconds):
        """How long it took until the delivery was empty."""
        begin = time.monotonic()
        while os.listdir(root):
            self.assertLess(time.monotonic() - begin, seconds, "still there")
            time.sleep(0.002)
        return time.monotonic() - begin

    @staticmethod
    def boot_ms():
        return int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000)

    def test_without_a_broker_the_mounter_wipes_at_the_hard_end(self):
        root = self.two_files()
        self.call("DEADLINE", deadline_ms=self.boot_ms() + 600)
        self.mounter.broker.close()
        time.sleep(0.3)
        self.assertTrue(os.listdir(root), "emptied before its end")
        self.assertLess(self.empty_within(root, 5), 0.3 + 0.1 + 0.3)

    def test_a_broker_has_some_time_to_wipe_at_the_hard_end_itself(self):
        root = self.two_files()
        self.call("DEADLINE", deadline_ms=self.boot_ms())
        time.sleep(1)
        self.assertTrue(os.listdir(root), "the broker is there and was not given its time")
        self.empty_within(root, 5)
        # Nobody was told: the next reply is that of the next request.
        self.assertEqual(self.call("LIST").op, OP["LIST"])
        self.assertEqual(self.mounter.receive().delivery, b"\0" * 32)
        self.call("WIPE", -errno.EPROTO)

    def test_a_hard_end_can_be_moved_and_taken_back(self):
        root = self.two_files()
        self.call("DEADLINE", deadline_ms=self.boot_ms() + 300)
        self.call("DEADLINE", deadline_ms=0)
        other = self.delivery
        self.delivery = os.urandom(32)
        self.host_path = os.path.join(self.volumes, self.delivery.hex())
        second = self.two_files()
        self.call("DEADLINE", deadline_ms=self.boot_ms() + 300)
        self.mounter.broker.close()
        self.empty_within(second, 5)
        self.assertTrue(os.listdir(root), other.hex())

    def test_sealing_waits_for_writers(self):
        writer = self.arm()
        container = self.container()
        self.call("LOCATE", name=container.target, fds=[container.pidfd])
        self.call("SEAL", -errno.EBUSY)
        os.close(writer)
        self.call("SEAL")

    # -- order, names, numbers

    def test_operations_out_of_order_are_refused(self):
        self.call("MARK", -errno.ENOENT, group=0)
        self.call("WIPE", -errno.ENOENT)
        self.call("MAKE", size_bytes=1 << 20, inodes=64)
        self.call("MAKE", -errno.EPROTO, size_bytes=1 << 20, inodes=64)
        self.call("RETREAT", -errno.EPROTO)
        self.call("LOCATE", -errno.EPROTO, name="run/secrets", fds=[self.engine])
        self.call("FORGET", -errno.EPROTO)
        self.call("ATTACH", -errno.EBADF)
        self.call("WIPE")
        self.call("FORGET")
        self.call("MAKE", size_bytes=1 << 20, inodes=64)
        self.call("WIPE")
        self.call("FORGET")

    def test_what_the_broker_cannot_mean_ends_the_mounter(self):
        hostile = [
            dict(op="FILE", name="../x", size_bytes=1), dict(op="FILE", name="a/../x", size_bytes=1),
            dict(op="FILE", name="/etc/passwd", size_bytes=1), dict(op="FILE", name="", size_bytes=1),
            dict(op="FILE", name=".hidden", size_bytes=1), dict(op="FILE", name="a/.hidden", size_bytes=1),
            dict(op="FILE", name="a//b", size_bytes=1), dict(op="FILE", name="a/", size_bytes=1),
            dict(op="FILE", name="a", size_bytes=0), dict(op="FILE", name="a", size_bytes=1, mode=0o4755),
            dict(op="FILE", name="x" * 256, size_bytes=1), dict(op="MAKE", size_bytes=1 << 40, inodes=10),
            dict(op="MAKE", size_bytes=1 << 20, inodes=1 << 30), dict(op="MARK", group=3),
            dict(op="LOCATE", name="../run"), dict(op="INVALID"), dict(op="SIGNAL", mode=signal.SIGKILL),
        ]
        for request in hostile:
            with self.subTest(**request):
                self.mounter.send(delivery=self.delivery, **request)
                with self.assertRaises((EOFError, ConnectionResetError)):
                    self.mounter.receive()
                self.assertNotEqual(self.mounter.process.wait(5), 0)
                self.mounter.start()
        for data in (b"short", b"\xff" * REQUEST.size, b"\xff" * (REQUEST.size + 1)):
            with self.subTest(data=data[:5]):
                self.mounter.broker.send(data)
                self.assertNotEqual(self.mounter.process.wait(5), 0)
                self.mounter.start()

    def test_a_file_that_does_not_fit_is_refused_and_leaves_no_descriptor(self):
        self.call("MAKE", size_bytes=64 << 10, inodes=64)
        self.assertEqual(self.call("FILE", -errno.ENOSPC, name="a", generation=1, size_bytes=1 << 20).fd, -1)

    def test_comparing_processes(self):
        self.arm()
        container = self.container()
        reply = self.mounter.call("COMPARE", fds=[container.pidfd, self.engine])
        self.assertFalse(reply.flags & SAME_MOUNT_NAMESPACE)
        reply = self.mounter.call("COMPARE", fds=[container.pidfd, container.pidfd])
        self.assertTrue(reply.flags & SAME_MOUNT_NAMESPACE)
        dead = subprocess.Popen(["true"])
        pidfd = pidfd_open(dead.pid)
        dead.wait()
        self.assertEqual(self.mounter.call("COMPARE", fds=[container.pidfd, pidfd]).status, -errno.ESRCH)
        os.close(pidfd)

    def test_an_engine_in_another_mount_namespace(self):
        engine = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sleep", "60"])
        self.addCleanup(engine.wait)
        self.addCleanup(engine.kill)
        while os.readlink(f"/proc/{engine.pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt"):
            time.sleep(0.01)
        pidfd = pidfd_open(engine.pid)
        self.addCleanup(os.close, pidfd)
        self.call("MAKE", size_bytes=1 << 20, inodes=64)
        self.make_file()
        self.call("COMMIT", generation=1)
        self.call("MARK", group=0)
        self.call("ATTACH", fds=[pidfd])
        self.assertEqual(os.listdir(self.host_path), [], "nothing is mounted in the host's namespace")
        inside = f"/proc/{engine.pid}/root{self.host_path}"
        self.assertEqual(sorted(os.listdir(inside)), ["..a", "..data", "password"])
        self.call("WIPE")
        self.assertEqual(os.listdir(inside), [])
        self.call("FORGET")
        self.assertFalse(os.path.exists(inside))
        root = self.mounter.call("ENGINE_ROOT", fds=[pidfd]).fd
        self.assertEqual(os.stat(root).st_ino, os.stat("/").st_ino)
        os.close(root)

    # -- dying

    def die(self, with_arena):
        self.mounter.kill()
        if with_arena:
            self.mounter.forget_arena()
        self.mounter.start()

    def adopt(self, container, status=0, **fields):
        return self.call("ADOPT", status, device=fields.pop("device", self.device), generation=1, group=2,
                         mount_id=fields.pop("mount_id", self.located.mount_id), fds=[container.pidfd],
                         name=container.target)

    def adopted_is_as_before(self, *rest, with_arena=False, target="run/secrets"):
        writer = self.arm()
        container = self.container(*rest, target=target)
        self.located = self.release(container, writer)
        self.die(with_arena)
        self.adopt(container)
        located = self.call("LOCATE", name=container.target, fds=[container.pidfd])
        self.call("RETREAT")
        container.ask(f"/{target}/password")
        if located.flags & TARGET_UNREACHABLE:
            self.mounter.next_event(2).answer(FAN_ALLOW)
        self.assertEqual(container.told(), VALUE)
        self.call("WIPE")
        container.ask(f"/{target}/password")
        self.assertEqual(container.told(), -errno.ENOENT)
        self.call("FORGET")

    def test_a_released_delivery_is_found_again_in_the_arena(self):
        self.adopted_is_as_before()

    def test_a_released_delivery_of_a_user_namespace_is_found_again_in_the_arena(self):
        self.adopted_is_as_before("userns")

    def test_a_released_delivery_behind_a_closed_directory_is_found_again_in_the_arena(self):
        self.adopted_is_as_before("closed", target="home/app/secrets")

    def test_a_released_delivery_is_found_again_in_its_container_when_the_arena_is_gone(self):
        self.adopted_is_as_before(with_arena=True)

    def test_an_armed_delivery_is_found_again_and_filled_with_new_files(self):
        os.close(self.arm())
        self.die(with_arena=False)
        self.call("ADOPT", device=self.device, generation=1, group=0, flags=ON_HOST_PATH | WITH_ENGINE,
                  fds=[self.engine])
        writer = self.make_file("password", generation=2)
        self.call("COMMIT", generation=2)
        container = self.container()
        container.ask("/run/secrets/password")
        self.release(container, writer, waiting=self.mounter.next_event(0))
        self.assertEqual(container.told(), VALUE)

    def test_the_directory_of_one_that_was_wiped_by_a_dead_mounter_is_removed(self):
        os.close(self.arm())
        self.call("WIPE")
        self.die(with_arena=False)
        self.assertTrue(os.path.isdir(self.host_path))
        self.call("FORGET", flags=WITH_ENGINE, fds=[self.engine])
        self.assertFalse(os.path.isdir(self.host_path))

    def test_what_is_made_while_a_sweep_is_under_way_is_no_stray(self):
        for _ in range(50):
            delivery = os.urandom(32)
            self.mounter.send("SWEEP")
            self.mounter.send("MAKE", delivery=delivery, size_bytes=1 << 20, inodes=64)
            self.assertEqual([self.mounter.receive().status for _ in range(2)], [0, 0])
            self.assertIn(delivery.hex(), os.listdir(f"/proc/{self.mounter.process.pid}/root"))
            self.call("WIPE", delivery=delivery)
            self.call("FORGET", delivery=delivery)

    def test_what_is_not_the_one_is_not_adopted(self):
        writer = self.arm()
        container = self.container()
        self.located = self.release(container, writer)
        self.die(with_arena=False)
        self.adopt(container, -errno.ESTALE, device=self.device + 1)
        self.die(with_arena=True)
        self.adopt(container, -errno.ENODEV, device=self.device + 1)
        self.adopt(container, -errno.ESTALE, mount_id=self.located.mount_id + 1)
        self.adopt(container)

    def test_a_file_system_that_only_the_broker_calls_ours_is_not_adopted(self):
        """What a broker that was taken over would ask for: any mount of any container, writable and to be wiped."""
        foreign = tempfile.mkdtemp(prefix="mayfly-mounter-foreign-")
        self.addCleanup(os.rmdir, foreign)
        mount("foreign", foreign, "tmpfs")
        self.addCleanup(LIBC.umount2, foreign.encode(), MNT_DETACH)
        with open(f"{foreign}/file", "w") as file:
            file.write("somebody's")
        container = self.container(source=foreign)
        asked = {"device": os.stat(foreign).st_dev, "group": 2, "generation": 1, "name": container.target,
                 "fds": [container.pidfd]}
        self.call("ADOPT", -errno.EPERM, **asked)
        for kind, value in (("user", self.delivery.hex()), ("trusted", "0" * 64)):
            os.setxattr(foreign, f"{kind}.mayfly", value.encode())
        self.call("ADOPT", -errno.EPERM, **asked)
        self.assertEqual(os.listdir(foreign), ["file"])

    def test_a_service_of_the_host_is_no_container(self):
        """It may have a mount namespace of its own; nothing of ours is mounted over its /etc."""
        self.call("MAKE", size_bytes=1 << 20, inodes=64)
        self.addCleanup(self.try_wipe)
        service = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c", "echo ready; read line"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(service.communicate, b"end\n")
        self.assertEqual(service.stdout.readline(), b"ready\n")
        pidfd = pidfd_open(service.pid)
        self.addCleanup(os.close, pidfd)
        self.call("ATTACH_INSIDE", -errno.EPERM, name="etc", fds=[pidfd])

    def test_the_arena_shows_nothing_of_the_host(self):
        self.assertEqual(os.listdir(f"/proc/{self.mounter.process.pid}/root"), [])
        with open(f"/proc/{self.mounter.process.pid}/mounts") as mounts:
            self.assertEqual(len(mounts.readlines()), 1)

    def test_a_hanging_file_system_costs_one_worker_and_nobody_else(self):
        """A FUSE file system in the container whose server never answers."""
        self.arm()
        container = self.container("hanging")
        begun = time.monotonic()
        self.mounter.send("LOCATE", delivery=self.delivery, name="hanging/secrets", fds=[container.pidfd])
        other = os.urandom(32)
        reply = self.mounter.call("MAKE", delivery=other, size_bytes=1 << 20, inodes=64)
        self.assertEqual((reply.status, reply.delivery), (0, other), "answered while the worker hangs")
        self.assertLess(time.monotonic() - begun, 1)
        self.call("SEAL", -errno.EBUSY)  # one operation of a delivery at a time
        reply = self.mounter.receive()
        self.assertEqual(reply.status, -errno.ETIMEDOUT, reply)
        self.assertLess(time.monotonic() - begun, 4)
        self.call("LOCATE", name=container.target, fds=[container.pidfd])

    def test_a_worker_that_cannot_be_killed_costs_itself_and_nobody_else(self):
        """The kernel holds it, whatever it is sent: here the freezer does."""
        freezer = Freezer(self)
        self.arm()
        container = self.container("hanging")
        begun = time.monotonic()
        self.mounter.send("LOCATE", delivery=self.delivery, name="hanging/secrets", fds=[container.pidfd])
        wait_until(self.worker, "it has begun")
        worker = self.worker()
        freezer.freeze(worker)
        reply = self.mounter.receive()
        self.assertEqual(reply.status, -errno.ETIMEDOUT, reply)
        self.assertLess(time.monotonic() - begun, 5)
        self.assertEqual(self.worker(), worker, "it is still there")
        begun = time.monotonic()
        self.call("LOCATE", name=container.target, fds=[container.pidfd])
        self.call("WIPE")
        self.assertLess(time.monotonic() - begun, 1)
        freezer.thaw()
        self.mounter.call("PROBE")
        wait_until(lambda: self.worker() is None, "the worker is reaped")

    def worker(self):
        """The pid of the only worker that is no corpse of a moment ago, or None."""
        children = f"/proc/{self.mounter.process.pid}/task/{self.mounter.process.pid}/children"
        with open(children, encoding="ascii") as file:
            pids = [int(word) for word in file.read().split()]
        return pids[0] if pids else None

    def test_with_every_worker_hanging_a_wipe_waits_and_is_carried_out(self):
        self.arm()
        container = self.container("hanging")
        held = [os.urandom(32) for _ in range(64)]
        for delivery in held:
            self.call("MAKE", delivery=delivery, size_bytes=1 << 20, inodes=64)
            self.call("ATTACH", delivery=delivery, fds=[self.engine])
        for delivery in held:
            self.mounter.send("LOCATE", delivery=delivery, name="hanging/secrets", fds=[container.pidfd])
        self.mounter.send("WIPE", delivery=self.delivery)
        replies = {reply.delivery: reply for reply in (self.mounter.receive() for _ in range(65))}
        self.assertEqual(replies[self.delivery].status, 0, replies[self.delivery])
        self.assertEqual({replies[delivery].status for delivery in held}, {-errno.ETIMEDOUT})
        for delivery in held:
            self.call("WIPE", delivery=delivery)
            self.call("FORGET", delivery=delivery)


@unittest.skipUnless(os.path.exists(os.environ.get("MAYFLY_DENY_CALLS", "")), "needs the helper that denies calls")
class OlderKernelTest(MounterTest):
    """The same before 6.8: no statmount and listmount."""

    wrapper = (os.environ.get("MAYFLY_DENY_CALLS", ""), "older-kernel")

    def test_a_target_behind_a_closed_directory_is_found_without_walking(self):
        """There is no other way to it: refused."""
        self.arm()
        container = self.container("closed", target="home/app/secrets")
        reply = self.call("LOCATE", -errno.ENOSYS, name=container.target, fds=[container.pidfd])
        self.assertIn("mount table", reply.detail)

    test_a_released_delivery_behind_a_closed_directory_is_found_again_in_the_arena = None


if __name__ == "__main__":
    unittest.main(verbosity=2)
