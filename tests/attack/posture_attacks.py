"""Attacks by containers that ask for more than a secret: privileges, the engine, other containers' processes, names."""
import os
import signal
import subprocess
import time

from attack_case import READ, AttackCase, harness, wait_for

LOOK_ALIKE = "mayfly-look-alike:1"


class PostureAttacks(AttackCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.engine.import_image(LOOK_ALIKE, lambda root: (root / "etc/motd").write_text("another image\n"))

    def refused_for(self, row, what, allowed, *options, engine_says):
        """A container with OPTIONS is refused by `docker run` itself; the control is a grant that allows it."""
        def attack(target):
            target.allow(require=dict.fromkeys(allowed, "allow") if target.is_control else {})
            told = target.run(*target.web(*options), *READ)
            if not target.is_control:
                self.assertRegex(told, engine_says)
            granted = any(r["action"] == "mount" and r["decision"] == "granted" for r in target.records())
            return target.loot(told) or ("was mounted for" if granted else "")

        attack.__doc__ = what
        self.compare(row, attack, f"a grant that allows {' and '.join(allowed)}", engine_says)

    def test_a_privileged_container_is_refused(self):
        # A machine whose root lacks a capability cannot start one: what counts is that it is mounted for.
        self.refused_for(13, "A privileged container asks for its secret.", ["privileged", "sys_admin"], "--privileged",
                         engine_says="refuses a privileged container; remove `privileged: true`")

    def test_a_container_with_sys_admin_is_refused(self):
        self.refused_for(69, "A container with CAP_SYS_ADMIN asks for its secret.", ["sys_admin"],
                         "--cap-add", "SYS_ADMIN", engine_says="refuses a container with CAP_SYS_ADMIN")

    def test_a_container_with_all_capabilities_is_refused(self):
        self.refused_for(69, "A container that adds ALL and drops another capability asks for its secret.",
                         ["privileged", "sys_admin"], "--cap-add", "ALL", "--cap-drop", "MKNOD",
                         engine_says="refuses a container with CAP_SYS_ADMIN")

    def test_a_container_in_the_hosts_pid_namespace_is_refused(self):
        self.refused_for(13, "A container in the host's pid namespace asks for its secret.", ["host_namespaces"],
                         "--pid", "host", engine_says="refuses a container in a namespace of the host")

    def test_a_container_with_the_engines_socket_is_refused(self):
        self.refused_for(13, "A container that has the engine's socket asks for its secret.", ["engine_socket"],
                         "-v", f"{self.engine.socket}:/docker.sock",
                         engine_says="refuses a container that has the engine's socket")

    def test_a_container_with_a_directory_above_the_engines_socket_is_refused(self):
        self.refused_for(13, "A container that has a directory above the engine's socket asks for its secret.",
                         ["engine_socket"], "-v", f"{self.engine.directory}:/engine",
                         engine_says="refuses a container that has the engine's socket")

    def test_a_container_with_the_engines_socket_in_a_volume_is_refused(self):
        self.engine.docker("volume", "create", "-o", "type=none", "-o", "o=bind",
                           "-o", f"device={self.engine.directory}", "innocent")
        self.addCleanup(self.engine.docker, "volume", "rm", "-f", "innocent", check=False)
        self.refused_for(13, "A container that has the engine's socket through a local volume asks for its secret.",
                         ["engine_socket"], "-v", "innocent:/engine",
                         engine_says="refuses a container that has the engine's socket")

    def test_row_10_a_label_that_claims_to_be_another_service(self):
        def attack(target):
            """A container of another image carries the label of the service that has the grant."""
            digest = self.engine.inspect(harness.IMAGE, ".Id")
            target.allow(require={} if target.is_control else {"image.digest": digest})
            target.victim()
            told = target.run(*target.web(), *READ, image=LOOK_ALIKE)
            if not target.is_control:
                self.assertRegex(told, "refuses an image of another digest")
            return target.loot(told)

        self.compare(10, attack, "a grant that rests on strings", "image of another digest")

    def test_row_13_a_sibling_in_the_hosts_pid_namespace(self):
        def attack(target):
            """A container in the host's pid namespace, of the victim's uid, goes through /proc/PID/root."""
            target.allow(guard="until-start" if target.is_control else "always")
            pid = target.pid(target.victim())
            return target.loot(target.run("--pid", "host", "--", "dd", "status=none",
                                          f"if=/proc/{pid}/root/run/secrets/pw"))

        self.compare(13, attack, "a grant that lets the guard go", "not in the container's cgroup")

    def test_row_14_a_container_that_joins_the_pid_namespace_later(self):
        def attack(target):
            """A container joins the pid namespace of the victim that runs, and goes through /proc/1/root."""
            target.allow()
            victim = target.victim()
            return target.loot(target.run("--pid", f"container:{victim}", "--", "dd", "status=none",
                                          "if=/proc/1/root/run/secrets/pw"))

        self.compare(14, attack, "mount-only", "not in the container's cgroup")

    def test_row_15_an_image_made_of_the_running_container(self):
        def attack(target):
            """`docker commit` and `docker export` of the running container; what comes of them is searched."""
            target.allow()
            victim = target.victim()
            if target.is_control:
                self.engine.exec(victim, "cp", "/run/secrets/pw", "/etc/pw")
            self.engine.docker("commit", victim, "stolen:1")
            self.addCleanup(self.engine.docker, "rmi", "-f", "stolen:1", check=False)
            found = []
            for what in (["save", "stolen:1"], ["export", victim], ["inspect", victim],
                         ["history", "--no-trunc", "stolen:1"]):
                output = subprocess.run(["docker", "-H", f"unix://{self.engine.socket}", *what], stdout=subprocess.PIPE,
                                        check=True).stdout
                if target.secret.encode() in output:
                    found.append(what[0])
            return f"the value is in {', '.join(found)}" if found else ""

        self.compare(15, attack, "a value in the container's layer, as Compose puts it there", None,
                     says_why=lambda target: "it is not in the image, the export, the history or inspect")

    REMOUNT = "mount -o remount,bind,rw /run/secrets; mount -o remount,rw /run/secrets; "

    def test_row_69_a_container_that_forges_its_secret(self):
        def attack(target):
            """A container with CAP_SYS_ADMIN reads its secret, remounts the tmpfs and writes another one."""
            target.allow(require={"sys_admin": "allow"} if target.is_control else {})
            told = target.run(*target.web("--cap-add", "SYS_ADMIN"), "--", "sh", "-c",
                              f"dd if=/run/secrets/pw status=none; sleep 0.3; {self.REMOUNT}"
                              "timeout 2 intruder write /run/secrets/pw | head -n 1")
            return "it forged its own secret" if "forged" in told else ""

        self.compare(69, attack, "a grant that allows sys_admin", "refuses a container with CAP_SYS_ADMIN")

    def test_row_69_a_container_that_keeps_its_secret_from_being_sealed(self):
        def attack(target):
            """A container with CAP_SYS_ADMIN, which its grant allows, remounts the tmpfs and opens the file for writing
            again and again from its first instruction on; beside it an innocent container starts."""
            target.allow(require={"sys_admin": "allow"})
            script = f"{self.REMOUNT} touch /shared/there; timeout 3 intruder write /run/secrets/pw | head -n 1"
            intruder, _ = target.hold_armed("--cap-add", "SYS_ADMIN", command=("sh", "-c", script))
            # The start is told late, so that its write opens come first, as on a busy host.
            engine = target.mayfly.kill("mayfly-engine", signal.SIGSTOP)
            target.release_holds()
            wait_for(lambda: (target.shared / "there").exists(), "it has begun", 1.5)
            time.sleep(0.1)
            os.kill(engine, signal.SIGCONT)
            self.assertIn(target.secret, target.run(*target.web(), *READ), "nobody else suffers")
            self.engine.docker("wait", intruder)
            return "it wrote what nobody sealed" if "forged" in self.engine.docker("logs", intruder).stdout else ""

        # Its open is denied and sealing tried again; when it is faster three times, the delivery is wiped.
        self.compare(69, attack, "unsealed", "the delivery is not to be had|seal the tmpfs: Device or resource busy")
