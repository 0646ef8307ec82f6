"""Attacks on where a container's own request is delivered, on what stays of it, and on whoever else asks meanwhile."""
import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import mounter_client
from attack_case import ATTACKS, grant, wait_for
from harness import BUILD
from socket_case import SocketCase

RACES = int(os.environ.get("MAYFLY_ATTACK_RACES", "5000"))
REMOUNT = "mount -o remount,bind,rw /run/secrets; mount -o remount,rw /run/secrets; "
# Promised is 100 ms; this machine is shared.
WIPED_WITHIN_S = 1.0
HANGS_S = 1.9
LEFT = 60
LIBC = ctypes.CDLL(None, use_errno=True)

# What stands where the target or a part of its way should be, made by whoever can write to /run.
LINKS = {
    "a link to /etc": "ln -s /etc /run/secrets",
    "a link upwards": "ln -s ../../../../etc /run/secrets",
    "a link through /proc": "ln -s /proc/1/root/etc /run/secrets",
    "a link to procfs": "ln -s /proc/sys /run/secrets",
    "a link to another mount": "ln -s /dev/shm /run/secrets",
    "a link on the way": "rm -r /run && mkdir -p /etc/secrets && ln -s /etc /run",
    "a file": "touch /run/secrets",
}


def wait_for_less(count, most, timeout):
    """COUNT() once it is at most MOST, or when the time is over."""
    until = time.monotonic() + timeout
    while (value := count()) > most and time.monotonic() < until:
        time.sleep(0.05)
    return value


class TargetAttacks(SocketCase):
    config = {"container_socket": {"requests_per_second": 300}}

    # --- rows 16 to 19 and 69: the target ---

    def mounts_of(self, container, pids={}):  # a cache: asking the engine takes longer than the race
        if container not in pids:
            pids[container] = self.engine.inspect(container, ".State.Pid")
        text = pathlib.Path(f"/proc/{pids[container]}/mounts").read_text()
        return {line.split()[1] for line in text.splitlines()}

    def test_row_16_links_in_the_place_of_the_target(self):
        def attack(target):
            """Whoever may write to /run in the container puts a link in the place of the target, or of its parent."""
            container = target.detach("-l", "role=web", "--", "sleep", "600")
            before = self.mounts_of(container)
            told = []
            for what, plant in LINKS.items():
                target.exec(container, "sh", "-c", plant)
                told.append(f"{what}: {target.why(target.call(container))}")
                found = self.mounts_of(container) - before - {"/run/secrets"}
                if found:
                    return f"it is mounted over {', '.join(found)} ({what})"
                target.exec(container, "sh", "-c", "rm -rf /run; mkdir /run")
            target.told = "\n".join(told)
            return ""

        self.compare(16, attack, "target-by-path", "a link or a file is in the way to the target",
                     tells="(?s)" + ".*".join(f"{what}: a link or a file is in the way" for what in LINKS))

    def test_row_16_the_target_exchanged_while_it_is_mounted_on(self):
        def attack(target):
            """Whoever may write to /run exchanges the target and a link to /etc (renameat2), thousands of times, while
            the container asks and releases."""
            container = target.detach("-l", "role=web", "--", "sleep", "600")
            target.exec(container, "mkdir", "-p", "/run/secrets")
            exchanger = target.exec_beside(container, "caller", "exchange", "/run/secrets", str(RACES), "/shared/go")
            asker = target.exec_beside(container, "caller", "cycle", target.inside, str(RACES // 100))
            found = set()
            while asker.poll() is None:
                found |= self.mounts_of(container) & {"/etc"}
                time.sleep(0.01)
            target.go()
            target.told = f"{target.said(exchanger).strip()}; {target.said(asker).strip()}"
            self.assertRegex(target.told, "exchanged: .*delivered: ")
            reasons = [r["reason"] for r in target.records("--last", "100000") if r["decision"] == "refused"]
            target.told += "; refused: " + ", ".join(f"{reasons.count(r)} x {r}" for r in sorted(set(reasons)))
            return "it is mounted over /etc" if found | (self.mounts_of(container) & {"/etc"}) else ""

        self.compare(16, attack, "target-by-path", "a link or a file is in the way|the target was moved", says_why=lambda target: target.told)

    @contextlib.contextmanager
    def shared_tmpfs(self):
        path = self.directory / "propagating"
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "propagating", path], check=True)
        subprocess.run(["mount", "--make-shared", path], check=True)
        try:
            yield path
        finally:
            self.engine.remove_containers()
            while subprocess.run(["umount", "-R", path], stderr=subprocess.DEVNULL, check=False).returncode != 0:
                time.sleep(0.05)
            path.rmdir()

    def test_row_17_a_target_that_propagates_to_the_host(self):
        def attack(target):
            """The target lies on a volume with shared propagation: what is mounted there appears on the host."""
            target.allow(target="/srv/secrets")
            with self.shared_tmpfs() as path:
                container = target.detach("-l", "role=web", "-v", f"{path}:/srv:rshared", "--", "sleep", "600")
                target.exec(container, "mkdir", "-p", "/srv/secrets")
                target.call(container)
                with contextlib.suppress(OSError):
                    return target.loot((path / "secrets/pw").read_text(), "the host reads the value")
                return ""

        self.compare(17, attack, "target-by-path", "would appear outside of the container too")

    def test_row_18_a_target_on_a_volume_that_another_container_has(self):
        def attack(target):
            """The target lies on a volume; another container with that volume removes the directory (rmdir), which
            takes away what is mounted there elsewhere."""
            target.allow(target="/srv/secrets")
            volume = self.directory / "volume"
            (volume / "secrets").mkdir(parents=True, exist_ok=True)
            container = target.detach("-l", "role=web", "-v", f"{volume}:/srv", "--", "sleep", "600")
            reply = target.call(container)
            had = target.secret in target.read(container, "/srv/secrets/pw")
            target.run("-v", f"{volume}:/srv", "--", "rm", "-rf", "/srv/secrets")
            gone = target.secret not in target.read(container, "/srv/secrets/pw")
            target.told = target.why(reply)
            return "another container has taken the files away" if had and gone else ""

        self.compare(18, attack, "target-by-path", "the target lies on another mount")

    def test_row_19_and_69_a_container_that_forges_its_secret(self):
        def attack(target):
            """A container with CAP_SYS_ADMIN asks, remounts the tmpfs and writes another value."""
            target.allow(require={"sys_admin": "allow"} if target.is_control else {})
            container = target.detach("-l", "role=web", "--cap-add", "SYS_ADMIN", "--", "sleep", "600")
            target.call(container)
            told = target.exec(container, "sh", "-c", f"{REMOUNT} echo forged >/run/secrets/pw; cat /run/secrets/pw")
            return "it forged its own secret" if "forged\n" in told else ""

        self.compare("19, 69", attack, "a grant that allows sys_admin", "refuses a container with CAP_SYS_ADMIN")

    def test_row_20_a_link_planted_in_the_delivery(self):
        def attack(target):
            """A container with CAP_SYS_ADMIN, which its grant allows, remounts its tmpfs and plants a link to / where
            the next generation of its files will be made, and asks for more."""
            target.mayfly.put("prod/planted", target.secret)
            target.mayfly.policy(grant("web", {"container.label.role": "web"}, "pw", "planted",
                                       require={"sys_admin": "allow"}))
            container = target.detach("-l", "role=web", "--cap-add", "SYS_ADMIN", "--", "sleep", "600")
            target.call(container, "Request", {"names": ["pw"]})
            told = target.exec(container, "sh", "-c", f"{REMOUNT} ln -s / /run/secrets/..2 && echo planted")
            self.assertIn("planted\n", told)
            target.told = target.why(target.call(container, "Request", {"names": ["planted"]}))
            root = pathlib.Path(f"/proc/{target.mayfly.child('mayfly-mounter')}/root")
            return "the mounter wrote outside of the delivery" if (root / "planted").exists() else ""

        self.compare(20, attack, "follows-planted", None, tells="Not a directory",
                     says_why=lambda target: "the next generation: " + target.told)

    # --- rows 22 and 23: who else asks meanwhile ---

    def innocent(self, target, times=1):
        """Why a container that has done nothing was not served, or ""."""
        for _ in range(times):
            begun = time.monotonic()
            told = target.exec("victim", "timeout", "3", "caller", "cycle", target.inside, "1")
            took = time.monotonic() - begun
            if "delivered: 1 of 1" not in told:
                return "an innocent request was not served"
            if took > HANGS_S:
                return f"an innocent request waited for {took:.1f} s"
        return ""

    def test_row_22_a_hanging_file_system_on_the_way_to_the_target(self):
        def attack(target):
            """A container has a FUSE file system whose server never answers on /run, and asks; beside it another
            one asks again and again."""
            target.allow(require={"sys_admin": "allow"})
            container = target.detach("-l", "role=web", "--cap-add", "SYS_ADMIN", "--device", "/dev/fuse", "--", "caller",
                                      "hang", "/run")
            wait_for(lambda: "hang: mounted" in self.engine.docker("logs", container).stdout, "it hangs", 10)
            asker = target.exec_beside(container, "caller", "cycle", target.inside, "1")
            time.sleep(0.2)
            loot = self.innocent(target, 5)
            if not loot:
                target.told = target.said(asker)
            return loot

        self.compare(22, attack, "no-workers", "the worker was killed", tells="delivered: 0 of 1")

    def flood(self, target, *command, until):
        """The flood goes on until go(); what it has said so far."""
        process = target.exec_beside("mallory", "caller", *command)
        lines = []
        while not lines or until not in lines[-1]:
            lines.append(process.stdout.readline())
            self.assertTrue(lines[-1], f"the flood has ended: {lines}")
        return "".join(lines)

    def test_row_23_a_flood_of_connections(self):
        def attack(target):
            """A container makes as many connections as it can and asks nothing; another one asks."""
            target.told = self.flood(target, "connect-many", target.inside, "12200", "/shared/go", until="open: ")
            loot = self.innocent(target)
            target.go()
            return loot

        self.compare(23, attack, "unlimited", None, tells="open: 64\n",
                     says_why=lambda target: f"64 connections stay {target.told.split()[-2]} {target.told.split()[-1]}")

    def open_files(self, target):
        return len(os.listdir(f"/proc/{target.mayfly.child('mayfly-broker')}/fd"))

    def test_row_23_connections_from_before_it_is_known(self):
        def attack(target):
            """A container makes as many connections as it may at its first instruction, before its engine has told of
            it, and keeps them; another one asks at its own first instruction."""
            engine = target.mayfly.kill("mayfly-engine", signal.SIGSTOP)
            try:
                flood = target.detach("--", "caller", "connect-many", target.inside, "64", "/shared/go")
                wait_for(lambda: "connect: all" in self.engine.docker("logs", flood).stdout, "they are there", 5, step=0.1)
                innocent = target.spawn("-l", "role=web", "--", "caller", "cycle", target.inside, "1")
                time.sleep(0.5)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(engine, signal.SIGCONT)
            target.told = target.said(innocent).strip()
            target.go()
            return "" if "delivered: 1 of 1" in target.told else "an innocent start was not served"

        self.compare(23, attack, "shares-by-user", None, says_why=lambda target: f"the other one: {target.told}")

    def test_row_23_a_flood_of_descriptors(self):
        def attack(target):
            """A container passes descriptors beside messages that it does not end, on as many connections as it may
            have."""
            before = self.open_files(target)
            self.flood(target, "pass-many", target.inside, "64", "/shared/go", until="passed: ")
            most, until = 0, time.monotonic() + 0.5
            while time.monotonic() < until:
                most = max(most, self.open_files(target) - before)
                time.sleep(0.01)
            target.go()
            target.told = f"the broker has at most {most} more descriptors"
            return f"the broker holds {most} more descriptors" if most > 1000 else ""

        self.compare(23, attack, "unlimited", None, says_why=lambda target: target.told)

    def resident(self, target):
        text = pathlib.Path(f"/proc/{target.mayfly.child('mayfly-broker')}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) // 1024

    def test_row_23_messages_that_swell(self):
        def attack(target):
            """A container calls, on as many connections as it may have, with parameters that are as many small values
            as a message may hold, which take far more memory than the message."""
            before = self.resident(target)
            target.told = self.flood(target, "swell", target.inside, "64", "/shared/go", until="swell: ")
            grown = self.resident(target) - before
            target.go()
            target.told = f"{target.told.splitlines()[0]}; the broker has grown by {grown} MiB"
            return f"the broker has grown by {grown} MiB" if grown > 64 else ""

        self.compare(23, attack, "unlimited", None, tells="InvalidParameter", says_why=lambda target: target.told)

    def test_row_23_a_message_without_an_end(self):
        def attack(target):
            """A container sends a message that does not end."""
            before = self.resident(target)
            target.told = self.flood(target, "endless", target.inside, "64", until="taken: ").strip()
            grown = self.resident(target) - before
            return f"the broker has grown by {grown} MiB" if grown > 30 else ""

        self.compare(23, attack, "unlimited", None, tells="taken: [01] MiB",
                     says_why=lambda target: f"the connection is closed; {target.told}")

    def test_row_23_a_flood_of_requests(self):
        def attack(target):
            """A container asks as fast as it can, over eight connections, for a second; 300 a second are its share, and
            twice as many at once."""
            told = target.exec("mallory", "caller", "ask-often", target.inside, "1000", "WhoAmI")
            answers = int(told.split("answers: ")[1])
            target.told = f"{answers} answers"
            return f"{answers} answers" if answers > 1200 else ""

        self.compare(23, attack, "unlimited", None, says_why=lambda target: f"{target.told} in a second, in turn")

    def test_row_44_a_flood_of_refusals(self):
        def attack(target):
            """A container that may have nothing asks as fast as it can for a second: each refusal would be a record, and
            where no record can be written, nobody is given anything."""
            target.exec("mallory", "caller", "ask-often", target.inside, "1000", "Request")
            records = [r for r in target.records("--last", "100000") if r["decision"] == "refused"]
            target.told = f"{len(records)} records, the last one: {records[-1]['reason']}"
            return f"{len(records)} records in a second" if len(records) > 40 else ""

        self.compare(44, attack, "unlimited", "no grant matches", says_why=lambda target: target.told)

    def test_row_23_a_flood_of_mounts(self):
        def attack(target):
            """A container asks, moves the directory with its files away and releases, again and again: what is not
            found at the target stays mounted."""
            target.allow(target="/srv/secrets")
            container = target.detach("-l", "role=web", "--", "sleep", "600")
            before = self.mounts_of(container)
            target.told = target.exec(container, "caller", "leave-behind", target.inside, str(LEFT)).strip()
            left = wait_for_less(lambda: len(self.mounts_of(container) - before), 0, 1)
            target.told += f", {left} mounts stay"
            return f"{left} mounts stay in the container" if left > LEFT // 4 else ""

        self.compare(23, attack, "leaves-mounts", None, says_why=lambda target: target.told)

    def test_row_48_messages_that_are_none(self):
        """What is no call is answered with an error or by closing the connection; nobody else notices."""
        target = self.target()
        broker = target.mayfly.child("mayfly-broker")
        told = target.exec("mallory", "caller", "nonsense", target.inside)
        answers = [line.partition(": ")[::2] for line in told.splitlines()]
        self.assertEqual(answers.pop(), ("nonsense", "all of it"))
        self.assertEqual(len(answers), 15, told)
        for name, answer in answers:
            with self.subTest(name):
                self.assertTrue(answer == "(closed)" or '"error":' in answer, answer)
        self.assertEqual(self.innocent(target), "")
        self.assertEqual(target.mayfly.child("mayfly-broker"), broker)

    # --- rows 24 to 27: what stays ---

    def test_row_24_and_25_held_beyond_release(self):
        def attack(target):
            """A container with CAP_SYS_ADMIN, which its grant allows, passes its open file to another one, which maps
            it, keeps the tmpfs in a copy of its mount namespace (unshare -m), and releases."""
            target.allow(require={"sys_admin": "allow"})
            container = target.detach("-l", "role=web", "--cap-add", "SYS_ADMIN", "--", "sleep", "600")
            lease = target.delivered(container)["lease"]
            target.exec_beside(container, "intruder", "give", "/shared/socket", "/run/secrets/pw")
            taker = target.exec_beside("mallory", "intruder", "take", "/shared/socket", "/shared/go")
            copy = target.exec_beside(container, "unshare", "-m", "sh", "-c",
                                      "touch /shared/there; until [ -e /shared/go ]; do sleep 0.02; done; "
                                      "echo copy: $(ls /run/secrets) $(dd if=/run/secrets/pw status=none 2>&1)")
            self.assertIn("taken", taker.stdout.readline())
            wait_for((target.shared / "there").exists, "the copy is there", 10)
            target.call(container, "Release", {"lease": lease})
            wait_for(lambda: not target.mayfly.deliveries(), "it is released", 10)
            target.go()
            target.told = target.said(taker) + target.said(copy)
            return target.loot(target.told)

        self.compare("24, 25", attack, "no-wipe", None, says_why=lambda target: ", ".join(target.told.splitlines()),
                     tells=r"descriptor: .empty.\nmapping: .gone.\ncopy: *dd: can't open")

    def held(self, container):
        """The container's file, open for somebody who does not end with it."""
        path = f"/proc/{self.engine.inspect(container, '.State.Pid')}/root/run/secrets/pw"
        file = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, file)
        return file

    def read_late(self, target, file):
        begun = time.monotonic()
        while os.fstat(file).st_size > 0 and time.monotonic() - begun < WIPED_WITHIN_S:
            time.sleep(0.002)
        target.told = f"emptied after {1000 * (time.monotonic() - begun):.0f} ms"
        return target.loot(os.pread(file, 4096, 0).decode())

    def test_row_26_a_container_that_ends_unseen_by_the_engine(self):
        def attack(target):
            """A container that has asked for its secret is killed while its engine hangs. Somebody has the file open."""
            container = target.detach("-l", "role=web", "--", "sleep", "600")
            target.delivered(container)
            file, pid = self.held(container), target.pid(container)
            self.engine.process.send_signal(signal.SIGSTOP)
            try:
                os.kill(pid, signal.SIGKILL)
                return self.read_late(target, file)
            finally:
                self.engine.process.send_signal(signal.SIGCONT)

        self.compare(26, attack, "end-unwatched", None,
                     says_why=lambda target: f"the file that was held open was {target.told}")

    def test_row_27_a_container_that_ends_after_we_were_dead(self):
        def attack(target):
            """Our broker and mounter are killed and come back; a container that had asked for its secret ends after
            that. Somebody has the file open."""
            container = target.detach("-l", "role=web", "--", "sleep", "600")
            target.delivered(container)
            file = self.held(container)
            target.mayfly.kill("mayfly-broker")
            target.mayfly.kill("mayfly-mounter")
            target.mayfly.wait_ready()
            self.assertIn(target.secret, os.pread(file, 4096, 0).decode(), "the container keeps its files")
            self.engine.docker("kill", container)
            return self.read_late(target, file)

        self.compare(27, attack, "no-adoption", None,
                     says_why=lambda target: f"the file that was held open was {target.told}")

    # --- row 49: a broker that has been taken over ---

    def ask_as_broker(self, program):
        """What a hostile broker gets of the mounter PROGRAM: its tmpfs over a directory of the host, or of a service
        of the host that has a mount namespace of its own; and what the mounter says."""
        with tempfile.TemporaryDirectory(prefix="mayfly-attack-") as directory, contextlib.ExitStack() as stack:
            volumes, victim = f"{directory}/volumes", f"{directory}/victim"
            os.mkdir(volumes)
            os.mkdir(victim)
            mounter = mounter_client.Mounter(program, volumes, groups=1)
            stack.callback(mounter.close)
            stack.callback(LIBC.umount2, victim.encode(), 2)
            service = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c", "echo ready; read line"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            stack.callback(service.communicate, b"end\n")
            service.stdout.readline()
            got, told = [], []
            for whom, pid in (("the host", os.getpid()), ("a service of the host", service.pid)):
                delivery = os.urandom(32)
                with os.fdopen(os.pidfd_open(pid), "rb") as pidfd:
                    mounter.call("MAKE", delivery=delivery, size_bytes=1 << 20, inodes=64)
                    reply = mounter.call("ATTACH_INSIDE", delivery=delivery, name=victim[1:], fds=[pidfd.fileno()])
                    if victim in pathlib.Path(f"/proc/{pid}/mounts").read_text():
                        got.append(f"it mounts over a directory of {whom}")
                    told.append(f"{whom}: {reply.detail}")
                    mounter.call("WIPE", delivery=delivery)
            return ", ".join(got), "; ".join(told)

    def test_row_49_a_broker_that_mounts_on_the_host(self):
        """A broker that has been taken over has the mounter put a tmpfs of its own over a directory of the host, or of
        a service that has the host's root in a mount namespace of its own."""
        control = "trusts-broker"
        self.end_control()  # the kernel has 128 fanotify groups in all
        got, _ = self.ask_as_broker(str(ATTACKS / f"mayfly-mounter.{control}"))
        self.assertEqual(got.count("mounts over"), 2, got)
        lost, told = self.ask_as_broker(str(BUILD / "daemon/mayfly-mounter"))
        self.assertEqual(lost, "", told)
        self.assertRegex(told, "the host: its mount namespace is the host's; a service of the host: its root is the host's")
        self.note(49, self.test_row_49_a_broker_that_mounts_on_the_host, control, got, told)


del SocketCase
