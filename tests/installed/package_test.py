"""The Debian package: what is in it, what installing, upgrading, removing and purging do, and its units under a real systemd.

systemd runs here as root's user manager, which takes the same unit files; it need not be the machine's first process.
"""
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile
import unittest

from host import TREE, Host

package = None
PROGRAMS = ("usr/bin/mayfly", "usr/libexec/mayfly/mayflyd", "usr/libexec/mayfly/mayfly-broker", "usr/libexec/mayfly/mayfly-engine",
            "usr/libexec/mayfly/mayfly-mounter")
UNITS = ("mayfly.service", "mayfly-docker.socket", "mayfly-operator.socket")
# systemd.exec(5): each of these gives the service a mount namespace of its own, where the engine does not see its mounts.
OWN_MOUNTS = {"PrivateTmp", "PrivateDevices", "PrivateMounts", "PrivateIPC", "ProtectSystem", "ProtectHome", "ProtectProc", "ProcSubset",
              "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "ReadOnlyPaths", "ReadWritePaths",
              "InaccessiblePaths", "ExecPaths", "NoExecPaths", "BindPaths", "BindReadOnlyPaths", "TemporaryFileSystem", "MountFlags", "RootDirectory",
              "RootImage", "MountImages", "ExtensionImages", "ExtensionDirectories", "DynamicUser", "LogNamespace", "MountAPIVFS"}


def out(*command, **options):
    return subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True, check=True, **options).stdout


def setUpModule():
    global package
    directory = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-package-"))
    unittest.addModuleCleanup(shutil.rmtree, directory)
    built = subprocess.run([TREE / "scripts/package", directory], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if built.returncode != 0:
        raise AssertionError(built.stdout)
    package = pathlib.Path(built.stdout.splitlines()[-1])


class Content(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-unpacked-"))
        cls.addClassCleanup(shutil.rmtree, cls.root)
        subprocess.run(["dpkg-deb", "-R", str(package), str(cls.root)], check=True)

    def files(self):
        return [path.relative_to(self.root) for path in self.root.rglob("*") if not str(path.relative_to(self.root)).startswith("DEBIAN")]

    def test_its_name_says_version_and_architecture(self):
        version = re.search(r"version: '(.*)'", (TREE / "meson.build").read_text()).group(1)
        architecture = out("dpkg", "--print-architecture").strip()
        self.assertEqual(package.name, f"mayfly_{version}_{architecture}.deb")
        self.assertEqual(out("dpkg-deb", "-f", package, "Version").strip(), version)

    def test_programs_are_where_people_and_mayflyd_look(self):
        for program in PROGRAMS:
            self.assertEqual(stat.S_IMODE((self.root / program).stat().st_mode), 0o755, program)
        self.assertEqual(os.readlink(self.root / "usr/sbin/mayflyd"), "/usr/libexec/mayfly/mayflyd")

    def test_everything_is_roots_and_nobody_else_may_write(self):
        for line in out("dpkg-deb", "-c", package).splitlines():
            mode, owner = line.split()[:2]
            self.assertEqual(owner, "root/root", line)
            self.assertRegex(mode, r"^(l|[-d]rw[-x]r-[-x]r-[-x]$)", line)

    def test_every_verb_has_its_manual_page(self):
        pages = {path.name for path in (self.root / "usr/share/man").rglob("*.gz")}
        verbs = out(self.root / "usr/bin/mayfly", "help", "--names").splitlines()
        for verb in verbs:
            self.assertIn(f"mayfly-{verb.replace(' ', '-')}.1.gz", pages)
        self.assertLessEqual({"mayfly.1.gz", "mayflyd.8.gz"}, pages)

    def test_completion_examples_schemas_and_license_are_there(self):
        for path in ("usr/share/bash-completion/completions/mayfly", "usr/share/doc/mayfly/copyright", "usr/share/doc/mayfly/README.md",
                     "usr/share/doc/mayfly/docs/configuration.md", "usr/share/doc/mayfly/docs/schema/policy.schema.json",
                     "usr/share/doc/mayfly/examples/compose/compose.yaml", "usr/share/doc/mayfly/examples/policy/shop.json"):
            self.assertTrue((self.root / path).is_file(), path)
        self.assertEqual(stat.S_IMODE((self.root / "usr/share/doc/mayfly/examples/compose/make-image").stat().st_mode), 0o755)

    def test_the_configuration_is_a_conffile(self):
        self.assertEqual((self.root / "DEBIAN/conffiles").read_text().split(), ["/etc/mayfly/mayflyd.json"])
        self.assertEqual({path for path in self.files() if path.parts[0] == "etc" and (self.root / path).is_file()},
                         {pathlib.Path("etc/mayfly/mayflyd.json")})

    def test_sums_are_of_what_is_in_it(self):
        subprocess.run(["md5sum", "-c", "--quiet", "DEBIAN/md5sums"], cwd=self.root, check=True)

    def test_every_library_is_of_a_package_that_it_depends_on(self):
        depends = {item.split()[0] for item in out("dpkg-deb", "-f", package, "Depends").split(", ")}
        for program in PROGRAMS:
            for library in re.findall(r"=> (/\S+)", out("ldd", self.root / program)):
                # Only what it names itself: the rest is for those libraries' packages.
                if pathlib.Path(library).name in out("objdump", "-p", self.root / program):
                    owners = out("dpkg", "-S", f"*/{pathlib.Path(library).resolve().name}")
                    self.assertTrue(depends & set(re.findall(r"^([^:]+):", owners, re.M)), f"{program} needs {library}: {owners}")

    def test_programs_know_no_path_of_the_machine_that_built_them(self):
        for program in PROGRAMS:
            content = (self.root / program).read_bytes()
            for unwanted in (str(TREE).encode() + b"/", b".debug_info"):
                self.assertFalse(unwanted in content, f"{program} has {unwanted}")

    def test_maintainer_scripts_are_shell(self):
        for script in ("postinst", "prerm", "postrm"):
            path = self.root / "DEBIAN" / script
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o755)
            subprocess.run(["sh", "-n", str(path)], check=True)
            self.assertIn("set -e", path.read_text())

    def test_no_option_of_the_service_hides_its_mounts_from_the_engine(self):
        options = re.findall(r"^([A-Za-z]+)=", (self.root / "lib/systemd/system/mayfly.service").read_text(), re.M)
        self.assertIn("CapabilityBoundingSet", options)
        self.assertEqual(set(options) & OWN_MOUNTS, set())


class MesonInstall(unittest.TestCase):
    def test_installs_below_destdir_with_paths_of_the_prefix(self):
        build = os.environ["MAYFLY_BUILD"]
        with tempfile.TemporaryDirectory(prefix="mayfly-destdir-") as root:
            subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", root], check=True, stdout=subprocess.DEVNULL)
            prefix = pathlib.Path(root + "/usr/local")
            self.assertEqual(os.readlink(prefix / "sbin/mayflyd"), "/usr/local/libexec/mayfly/mayflyd")
            for program in PROGRAMS:
                self.assertTrue(os.access(prefix / program.removeprefix("usr/"), os.X_OK), program)
            self.assertEqual(len(list((prefix / "libexec/mayfly").iterdir())), 4, "test programs are not installed")
            unit = (prefix / "lib/systemd/system/mayfly.service").read_text()
            self.assertIn("ExecStart=/usr/local/libexec/mayfly/mayflyd\n", unit)
            self.assertNotRegex(unit, r"@\w+@")
            self.assertEqual([path for path in pathlib.Path(root).rglob("*") if path.is_file() and "test" in path.name], [])


class InstalledCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        cls.addClassCleanup(cls.host.close)
        cls.host.start()
        shutil.copy(package, cls.host.root / "root/mayfly.deb")
        cls.said = cls.host.run("apt-get install -y ./mayfly.deb", timeout=300).stdout

    def mode(self, path):
        status = (self.host.root / path.lstrip("/")).stat()
        return stat.S_IMODE(status.st_mode), status.st_uid

    def exists(self, path):
        return os.path.lexists(self.host.root / path.lstrip("/"))


class Installed(InstalledCase):
    def test_the_broker_has_a_user_of_its_own_without_a_shell(self):
        entry = self.host.run("getent passwd mayfly").stdout.strip().split(":")
        self.assertTrue(0 < int(entry[2]) < 1000, entry)
        self.assertEqual(entry[5:], ["/nonexistent", "/usr/sbin/nologin"])
        self.assertEqual(self.host.run("id -gn mayfly").stdout.strip(), "mayfly")

    def test_files_below_etc_are_roots_to_write(self):
        self.assertEqual(self.mode("/etc/mayfly"), (0o755, 0))
        self.assertEqual(self.mode("/etc/mayfly/policy.d"), (0o755, 0))
        self.assertEqual(self.mode("/etc/mayfly/mayflyd.json"), (0o644, 0))

    def test_the_units_are_enabled_and_what_to_do_without_systemd_is_said(self):
        for wanted in ("multi-user.target.wants/mayfly.service", "sockets.target.wants/mayfly-docker.socket", "sockets.target.wants/mayfly-operator.socket"):
            self.assertTrue(self.exists(f"/etc/systemd/system/{wanted}"), wanted)
        self.assertIn("start Mayfly with `mayflyd`", self.said)

    def test_the_default_configuration_is_one(self):
        self.assertIn("configuration and policy are fine", self.host.run("mayflyd --check").stdout)

    def test_systemd_finds_nothing_wrong_with_the_units(self):
        verified = self.host.run("systemd-analyze verify --man=yes " + " ".join(f"/lib/systemd/system/{unit}" for unit in UNITS)).stdout
        self.assertEqual(verified, "")

    def test_the_exposure_is_what_a_service_without_a_mount_namespace_can_have(self):
        said = self.host.run("systemd-analyze security --offline=true /lib/systemd/system/mayfly.service").stdout
        score = float(re.search(r"Overall exposure level for mayfly.service: ([0-9.]+)", said).group(1))
        print(f"# systemd-analyze security: {score}")
        self.assertLessEqual(score, 4.9)

    def test_manual_pages_and_completion_work(self):
        self.assertIn("mayflyd", self.host.run("MANPAGER=cat man mayflyd").stdout)
        self.assertIn("mayfly allow --compose", self.host.run("MANPAGER=cat man mayfly-allow").stdout)
        completed = self.host.run(". /usr/share/bash-completion/completions/mayfly; complete -p mayfly").stdout
        self.assertIn("mayfly", completed)


class UnderSystemd(InstalledCase):
    """The packaged units as they are, started by a real systemd, with its sandbox and its capabilities."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not (cls.host.root / "lib/systemd/systemd").exists():
            raise unittest.SkipTest("there is no systemd")
        cls.host.run("""
            mkdir -p -m 700 /run/user/0 /run/user/0/systemd
            mkdir -p /root/.config/systemd/user /run/systemd/system
            printf '[Manager]\\nDefaultStandardOutput=inherit\\nDefaultStandardError=inherit\\n' >/root/.config/systemd/user.conf
            cp /lib/systemd/system/mayfly* /root/.config/systemd/user
            (XDG_RUNTIME_DIR=/run/user/0 /lib/systemd/systemd --user >/var/log/systemd.log 2>&1 &)
            (dockerd >/var/log/dockerd.log 2>&1 &)
            for i in $(seq 300); do [ -S /run/user/0/systemd/private ] && docker version >/dev/null 2>&1 && exit 0; sleep 0.1; done
            cat /var/log/systemd.log /var/log/dockerd.log; exit 1""")
        cls.systemctl("start mayfly-docker.socket mayfly-operator.socket")
        # The first of these starts the service: its sockets are there already.
        cls.host.run("mayfly status && mayfly init --environment prod --recovery-key-to recovery-key && mayfly generate prod/a")
        cls.host.run("/usr/share/doc/mayfly/examples/compose/make-image && mayfly allow --name web --secret a --yes && docker volume create -d mayfly v1")

    @classmethod
    def systemctl(cls, words, **options):
        return cls.host.run(f"XDG_RUNTIME_DIR=/run/user/0 systemctl --user {words}", **options).stdout.strip()

    def value(self):
        return self.host.run("docker exec web cat /run/secrets/a").stdout

    def test_containers_get_their_secrets_and_keep_them_over_reload_restart_and_stop(self):
        self.host.run("docker run -d --name web --network none -u 1000 -v v1:/run/secrets:ro shop/web busybox tail -f /dev/null")
        self.addCleanup(self.host.run, "docker rm -f web")
        value = self.value()
        self.assertRegex(value, r"^[A-Za-z0-9]{32}$")
        before = self.systemctl("show -p MainPID --value mayfly.service")
        self.systemctl("reload mayfly.service")
        self.systemctl("restart mayfly.service")
        self.assertNotEqual(self.systemctl("show -p MainPID --value mayfly.service"), before)
        self.assertEqual(self.value(), value)
        self.host.run("until mayfly status | grep -q '0 armed, 1 released'; do sleep 0.1; done", timeout=120)
        self.systemctl("stop mayfly.service")
        self.assertEqual(self.value(), value)
        self.systemctl("start mayfly.service")
        self.host.run("until mayfly status | grep -q '0 armed, 1 released'; do sleep 0.1; done", timeout=120)
        self.host.run("docker rm -f web && until mayfly status | grep -q '0 armed, 0 released'; do sleep 0.1; done", timeout=120)

    def test_the_service_has_the_engines_mount_namespace_and_no_more_capabilities_than_it_gives_away(self):
        pid = self.systemctl("show -p MainPID --value mayfly.service")
        self.assertEqual(os.readlink(f"/proc/{pid}/ns/mnt"), os.readlink(f"/proc/{self.host.first.pid}/ns/mnt"))
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        self.assertIn("NoNewPrivs:\t1", status)
        self.assertIn("Seccomp:\t2", status)
        bounding = int(re.search(r"CapBnd:\t([0-9a-f]+)", status).group(1), 16)
        self.assertEqual(bin(bounding).count("1"), 11)

    def test_the_key_may_be_a_credential_of_the_service(self):
        self.host.run("""mv /etc/mayfly/host.key /root/key
            mkdir -p /root/.config/systemd/user/mayfly.service.d
            printf '[Service]\\nLoadCredential=host.key:/root/key\\n' >/root/.config/systemd/user/mayfly.service.d/key.conf""")
        self.addCleanup(self.host.run, """mv /root/key /etc/mayfly/host.key; rm -r /root/.config/systemd/user/mayfly.service.d
            XDG_RUNTIME_DIR=/run/user/0 systemctl --user daemon-reload; XDG_RUNTIME_DIR=/run/user/0 systemctl --user restart mayfly.service""")
        self.systemctl("daemon-reload")
        self.systemctl("restart mayfly.service")
        self.assertIn("unlocked", self.host.run("mayfly status").stdout)

    def test_a_stop_of_all_of_it_leaves_no_socket_that_nobody_serves(self):
        self.systemctl(f"stop {' '.join(UNITS)}")
        self.addCleanup(self.systemctl, f"start {' '.join(UNITS)}")
        self.assertFalse(self.exists("/run/docker/plugins/mayfly.sock"))
        self.assertFalse(self.exists("/run/mayfly/operator.sock"))


class Removed(InstalledCase):
    def test_an_upgrade_keeps_a_changed_configuration_removal_the_store_and_purge_nothing(self):
        self.host.run("""
            sed -i 's/"user"/"environment": "prod", "user"/' /etc/mayfly/mayflyd.json
            (mayflyd >/var/log/mayflyd.log 2>&1 & echo $! >/run/mayflyd.pid)
            until mayfly status >/dev/null 2>&1; do sleep 0.1; done
            mayfly init --recovery-key-to recovery-key && mayfly generate prod/a && mayfly allow --name web --secret a --yes""", timeout=120)
        # The same version once more is what an upgrade does: unpack, configure with the old version.
        upgraded = self.host.run("DEBIAN_FRONTEND=noninteractive dpkg -i mayfly.deb </dev/null").stdout
        self.assertNotIn("conffile", upgraded.lower())
        self.assertIn('"environment": "prod"', (self.host.root / "etc/mayfly/mayflyd.json").read_text())
        self.assertIn("prod/a", self.host.run("mayfly list").stdout)
        self.host.run("kill $(cat /run/mayflyd.pid); while kill -0 $(cat /run/mayflyd.pid); do sleep 0.1; done 2>/dev/null; true", timeout=120)

        self.host.run("apt-get remove -y mayfly")
        self.assertFalse(self.exists("/usr/sbin/mayflyd"))
        for kept in ("/etc/mayfly/mayflyd.json", "/etc/mayfly/host.key", "/etc/mayfly/policy.d/web.json", "/var/lib/mayfly/store.db"):
            self.assertTrue(self.exists(kept), kept)

        self.host.run("apt-get purge -y mayfly")
        for gone in ("/etc/mayfly", "/var/lib/mayfly", "/etc/systemd/system/multi-user.target.wants/mayfly.service",
                     "/etc/systemd/system/sockets.target.wants/mayfly-docker.socket"):
            self.assertFalse(self.exists(gone), gone)
        self.assertTrue(self.host.run("getent passwd mayfly").stdout, "the user stays: its number must not be given away again")
