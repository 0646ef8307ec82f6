"""Attacks by whoever can reach a delivery's mount: neighbours, copies, `docker cp`, links, and when we are dead."""
import contextlib
import os
import re
import signal
import subprocess

from attack_case import READ, AttackCase, grant, wait_for

THROUGH_ANOTHER_MOUNT = "through another mount than the container's own"


class ReachAttacks(AttackCase):
    ROUNDS = int(os.environ.get("MAYFLY_ATTACK_ROUNDS", "3"))

    def test_row_64_a_neighbour_copies_the_armed_mount(self):
        def attack(target):
            """A neighbour with the host's run directory, root and three capabilities more, copies the mount while it is
            armed, holds descriptors and a handle of it, and opens it in fourteen ways after the release."""
            target.allow()
            victim, _ = target.hold_armed()
            neighbour = target.intrude(*target.neighbour(
                "--cap-add", "SYS_ADMIN", "--cap-add", "DAC_READ_SEARCH", "--cap-add", "SYS_PTRACE",
                "--security-opt", "seccomp=unconfined"))
            target.release_holds()
            target.wait_released(victim)
            target.go()
            target.told = target.said(neighbour)
            return target.loot(target.told)

        self.compare(64, attack, "marks-removed", THROUGH_ANOTHER_MOUNT, tells="(?s)held: yes.*armed: EPERM.*done: yes")

    def test_row_63_docker_cp_of_a_container_that_does_not_run(self):
        def attack(target):
            """`docker cp` of a created container: the engine mounts its volume and copies the file."""
            target.allow()
            created = self.engine.docker("create", *target.command(*target.web(), "--", "sleep", "600"))
            return target.loot(self.copied(target, created.stdout.strip()))

        self.compare(63, attack, "fills-at-mount", "not in the cgroup of a container that this was mounted for")

    def copied(self, target, container, name="pw"):
        """What `docker cp` brings of a file, link or target."""
        found = ""
        for path in (f"/run/secrets/{name}", f"/run/secrets/..data/{name}", "/run/secrets/."):
            into = target.shared / f"copy-{len(list(target.shared.iterdir()))}"
            into.mkdir()
            self.engine.docker("cp", "-L", f"{container}:{path}", into, check=False)
            found += "".join(f"{f.name}: {f.read_text(errors='replace')}\n" for f in into.rglob("*") if f.is_file())
        return found

    def test_row_63_a_second_container_with_the_volume(self):
        def attack(target):
            """A container without the label has the victim's volume, by name and by `--volumes-from`."""
            target.allow({"volume.name": target.volume} if target.is_control else None)
            victim = target.victim()
            told = target.run(*target.mount_option(), *READ)
            told += target.run("--volumes-from", victim, *READ)
            return target.loot(told)

        self.compare(63, attack, "a grant that knows the volume only", "no grant matches")

    def test_row_63_a_second_container_while_the_first_one_starts(self):
        def attack(target):
            """A container without the label has the victims' volume and starts while four of them do: each may be the
            one that mounts."""
            target.allow()
            for _ in range(4):
                target.hold_armed()
            return target.loot("".join(
                target.run(*target.mount_option(), *READ) for _ in range(6)))

        self.compare(63, attack, "fills-at-mount", "no grant matches")

    def test_row_66_a_broker_killed_between_reading_and_answering(self):
        def attack(target):
            """Sixteen foreign opens are read and unanswered (the mounter, which is asked about them, stands still) when
            the broker is killed; the next broker allows opens of the victim that have the same numbers."""
            target.allow(guard="always")
            victim, _ = target.hold_armed()
            script = "touch /shared/there; intruder flood 16 /x/mayfly-volumes/*/pw /shared/go"
            target.spawn(*target.neighbour(), "--", "sh", "-c", f"({script}) >/shared/flood 2>&1")
            wait_for(lambda: (target.shared / "there").exists(), "the neighbour has its copy", 20)
            target.release_holds()
            target.wait_released(victim)
            target.mayfly.kill("mayfly-mounter", signal.SIGSTOP)
            before = self.open_files(target)
            target.go()
            # A descriptor and a pidfd of each, less what else was open at first.
            wait_for(lambda: self.open_files(target) >= before + 24, "the broker has read of the foreign opens", 1.8)
            target.mayfly.kill("mayfly-broker")
            target.mayfly.wait_ready()
            # Where a foreign open gets the answer, one of the victim's own waits for ever.
            self.engine.docker("exec", "-d", victim, "sh", "-c",
                               "for i in $(seq 32); do dd if=/run/secrets/pw status=none & done; wait")
            with contextlib.suppress(AssertionError):
                wait_for(lambda: re.search("canary|refused", target.shared_text("flood")), "an answer", 5)
            return target.loot(target.shared_text("flood"))

        self.compare(66, attack, "no-sweep", "the broker that had read of them has ended")

    @staticmethod
    def open_files(target):
        return len(os.listdir(f"/proc/{target.mayfly.child('mayfly-broker')}/fd"))

    def test_row_67_all_of_us_die_while_a_foreign_open_waits(self):
        def attack(target):
            """All processes of ours are killed while a foreign open waits, which the kernel then lets through; Mayfly
            comes back, finds the delivery in its container and fills it."""
            target.allow()
            victim, _ = target.hold_armed(moment="start")
            neighbour = target.spawn(*target.neighbour("--cgroup-parent", f"/docker/{victim}"), "--", "sh", "-c",
                                     "intruder late /x/mayfly-volumes/*/pw /shared/go | tee /shared/late")
            wait_for(lambda: "late: opening" in target.shared_text("late"), "the foreign open waits", 20)
            target.mayfly.kill_all()
            wait_for(lambda: "opened: " in target.shared_text("late"), "the kernel has let it through", 20)
            self.assertIn("opened: yes", target.shared_text("late"))
            target.mayfly.start()
            target.release_holds()
            target.wait_released(victim)
            self.assertIn(target.secret, self.engine.exec(victim, "cat", "/run/secrets/pw").stdout)
            target.go()
            target.told = target.said(neighbour)
            return target.loot(target.told)

        self.compare(67, attack, "filled-in-place", None,
                     says_why=lambda target: "the early descriptor reads: " + target.told.split("late: ")[-1].strip())

    def test_row_17_a_neighbour_that_follows_the_hosts_mounts(self):
        def attack(target):
            """The host's run directory is on a shared mount; a neighbour with `-v /run:/x:rslave` is there before the
            victim and sees each delivery arrive."""
            root = target.mayfly.root
            subprocess.run(["mount", "--bind", root, root], check=True)
            subprocess.run(["mount", "--make-shared", root], check=True)
            target.start()
            target.allow()
            neighbour = target.detach("-v", f"{root}/run:/x:rslave", "--", "sleep", "600")
            target.hold_armed()
            target.told = self.engine.exec(neighbour, "sh", "-c", "ls -d /x/mayfly-volumes; ls /x/mayfly-volumes/*/pw",
                                           check=False).stdout
            return "sees the armed delivery" if "/pw" in target.told else ""

        self.compare(17, attack, "shared-mounts", None, start=False,
                     says_why=lambda target: "it sees: " + target.told.strip())

    def test_row_16_a_link_in_the_place_of_the_volumes_directory(self):
        def attack(target):
            """Before Mayfly starts, somebody who can write to /run puts a link to /etc where Mayfly will mount its
            directory."""
            etc = target.shared / "etc"
            etc.mkdir()
            (etc / "passwd").touch()
            target.stack.callback(subprocess.run, ["umount", "-l", etc], stderr=subprocess.DEVNULL, check=False)
            (target.mayfly.root / "run").mkdir()
            (target.mayfly.root / "run/mayfly-volumes").symlink_to(etc)
            with contextlib.suppress(AssertionError):
                target.mayfly.start(init=False)
            target.told = target.mayfly.log_text().strip()
            return "" if (etc / "passwd").exists() else "its tmpfs lies over /etc"

        self.compare(16, attack, "follows-links", None, start=False, says_why=lambda target: target.told)

    def test_row_16_a_directory_in_the_place_of_the_armed_one(self):
        def attack(target):
            """A neighbour with the host's run directory moves the armed directory away before the runtime has bound
            it, and puts one of its own with a forged secret there."""
            target.allow()
            neighbour = target.detach(*target.neighbour(), "--", "sleep", "600")
            reads = "dd if=/run/secrets/pw status=none >/shared/read; sleep 600"
            _, path = target.hold_armed(command=("sh", "-c", reads))
            target.told = self.engine.exec(
                neighbour, "sh", "-c", f"cd /x/mayfly-volumes && mv {path.name} moved && mkdir {path.name} && "
                f"chmod 755 {path.name} && echo forged >{path.name}/pw", check=False).stderr
            target.release_holds()
            wait_for(lambda: target.shared_text("read"), "the victim has read", 20)
            return "the victim reads what the neighbour wrote" if "forged" in target.shared_text("read") else ""

        self.compare(16, attack, "writable-volumes", None, says_why=lambda target: target.told.strip(),
                     tells="Read-only file system")

    def test_row_16_what_cannot_be_prevented_is_recorded(self):
        """Who was there with a writable /run before Mayfly mounted anything in it can move all of it away."""
        target = self.target(start=False)
        (target.mayfly.root / "run").mkdir()
        neighbour = target.detach(*target.neighbour(), "--", "sleep", "600")
        target.start()
        target.allow()
        _, path = target.hold_armed()
        self.engine.exec(neighbour, "sh", "-c",
                         f"cd /x && mv mayfly-volumes moved && mkdir -p mayfly-volumes/{path.name}")
        target.release_holds()
        self.audited(target, "the container has something else in the place of this delivery")

    def test_row_70_replicas_with_different_grants_start_together(self):
        def attack(target):
            """Eight containers of one volume with eight different grants start at the same moment, several times; each
            prints what it reads first."""
            values = [f"canary-{i}-{target.secret}" for i in range(8)]
            for i, value in enumerate(values):
                target.mayfly.put(f"prod/pw{i}", value)
            release = {"release": "mount"} if target.is_control else {}
            target.mayfly.policy(*(grant(f"g{i}", {"container.label.n": str(i)}, {"name": f"pw{i}", "as": "pw"},
                                         **release) for i in range(8)))
            served = 0
            for _ in range(self.ROUNDS):
                starts = [target.spawn("-l", f"n={i}", *target.mount_option(), *READ) for i in range(8)]
                for i, told in enumerate(map(target.said, starts)):
                    others = [n for n in range(8) if n != i and values[n] in told]
                    if others:
                        return f"container {i} read the value of container {others[0]}"
                    served += values[i] in told
            target.told = f"{served} of {8 * self.ROUNDS} had their own value, none another's"
            # tests/engine sees to it that all have; what counts here is that nobody has another's.
            self.assertGreater(served, 7 * self.ROUNDS)
            return ""

        self.compare(70, attack, "fills-at-mount", None,
                     says_why=lambda target: target.told)
