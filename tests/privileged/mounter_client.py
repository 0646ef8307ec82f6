"""A broker's side of the mounter protocol (proto/mounter_protocol.h), for tests: starts mayfly-mounter the way the
supervisor does and speaks its fixed-size records."""
import array
import ctypes
import os
import select
import socket
import struct
import subprocess

LIBC = ctypes.CDLL(None, use_errno=True)
OPS = ["INVALID", "PROBE", "LIST", "MAKE", "FILE", "COMMIT", "MARK", "ATTACH", "SEAL", "UNSEAL", "CLEAN", "TAKE",
       "DEADLINE", "LOCATE", "RETREAT", "ATTACH_INSIDE", "DETACH_INSIDE", "WIPE", "FORGET", "COMPARE", "SIGNAL", "ENGINE_ROOT",
       "ADOPT", "SWEEP"]
OP = {name: number for number, name in enumerate(OPS)}
EMPTY, MADE, MARKED, ATTACHED, LOCATED, RELEASED, WIPED = (1 << n for n in range(7))
PLAIN, KEEP_GUARD, ON_HOST_PATH, WITH_ENGINE, MAKE_TARGET, LOOK_AT_MOUNTS, KEEP_PREVIOUS, SEE_CLOSES = (1 << n for n in range(8))
HAS_OPEN_GUARD, TARGET_UNREACHABLE = 1 << 0, 1 << 12
SAME_MOUNT_NAMESPACE, SAME_PID_NAMESPACE, WRITABLE_CGROUP = (1 << n for n in (16, 17, 18))
REQUEST = struct.Struct("=IIQ32sIIIIIIQQQQ256s")
REPLY = struct.Struct("=IiQ32sIIIIQQ2QQQ128s")
FAN_ALLOW, FAN_DENY, FAN_OPEN_PERM = 1, 2, 0x10000
FD_CONTROL = 3


def fanotify_group():
    """FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_PIDFD | UNLIMITED_QUEUE | UNLIMITED_MARKS."""
    fd = LIBC.fanotify_init(0x04 | 0x01 | 0x02 | 0x80 | 0x10 | 0x20, os.O_RDONLY | os.O_CLOEXEC | 0o100000)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "fanotify_init")
    return fd


def pidfd_open(pid):
    return os.pidfd_open(pid)


class Reply:
    def __init__(self, data, fds):
        (self.op, self.status, self.serial, self.delivery, self.phase, self.flags, self.generation, self.group,
         self.mount_id, self.device, _, _, self.mount_namespace, self.pid_namespace, detail) = REPLY.unpack(data)
        self.detail = detail.rstrip(b"\0").decode()
        self.fd = fds[0] if fds else -1

    def __repr__(self):
        return f"<{OPS[self.op]} {self.status} {self.detail!r}>"


class Event:
    """One waiting open."""

    def __init__(self, group, data):
        self.group = group
        length, _, _, metadata, self.mask, self.fd, self.pid = struct.unpack_from("=IBBHQii", data)
        self.pidfd = struct.unpack_from("=BBHi", data, metadata)[3] if length > metadata else -1

    def answer(self, response):
        os.write(self.group, struct.pack("=iI", self.fd, response))
        os.close(self.fd)
        if self.pidfd >= 0:
            os.close(self.pidfd)


class Mounter:
    def __init__(self, program, volumes, groups=3, wrapper=()):
        self.program, self.volumes_path, self.wrapper = program, volumes, list(wrapper)
        self.groups = [fanotify_group() for _ in range(groups)]
        self.closed = []  # (group, inode) of closes that were told
        self.serial = 0
        self.arena = -1
        self.start()

    def start(self):
        """Also again, after its end: with the same groups."""
        for old in (getattr(self, "control", None), getattr(self, "broker", None)):
            if old:
                old.close()
        self.control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.broker, broker = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        volumes = os.open(self.volumes_path, os.O_RDONLY | os.O_DIRECTORY)
        arena = self.arena if self.arena >= 0 else os.open("/dev/null", os.O_RDONLY)
        wanted = [control.fileno(), broker.fileno(), volumes, arena, *self.groups]

        def place():
            parked = [os.dup2(fd, 200 + i, inheritable=True) for i, fd in enumerate(wanted)]
            for i, fd in enumerate(parked):
                os.dup2(fd, FD_CONTROL + i, inheritable=True)
            os.closerange(FD_CONTROL + len(parked), 1024)

        self.process = subprocess.Popen(
            [*self.wrapper, self.program, "--volumes", self.volumes_path, "--groups", str(len(self.groups))],
            preexec_fn=place, close_fds=False)
        control.close()
        broker.close()
        os.close(volumes)
        if self.arena < 0:
            os.close(arena)
            self.arena = socket.recv_fds(self.control, 16, 1)[1][0]
        self.broker.settimeout(20)

    def send(self, op, delivery=b"\0" * 32, fds=(), name="", **fields):
        self.serial += 1
        get = lambda key: fields.get(key, 0)
        data = REQUEST.pack(OP[op], get("flags"), self.serial, delivery, get("generation"), get("group"), get("uid"),
                            get("gid"), get("mode"), get("inodes"), get("size_bytes"),
                            get("mount_id"), get("device"), get("deadline_ms"), name.encode())
        socket.send_fds(self.broker, [data], list(fds))
        return self.serial

    def receive(self):
        data, fds, _, _ = socket.recv_fds(self.broker, REPLY.size, 4)
        if not data:
            raise EOFError("the mounter has ended")
        return Reply(data, fds)

    def call(self, *args, **fields):
        self.send(*args, **fields)
        return self.receive()

    def next_event(self, group, timeout=5):
        """The next open that waits; what is told of closes is not."""
        while select.select([self.groups[group]], [], [], timeout)[0]:
            # One event at a time: metadata and its pidfd record.
            event = Event(self.groups[group], os.read(self.groups[group], 32))
            if event.mask & FAN_OPEN_PERM:
                return event
            self.closed.append((group, os.fstat(event.fd).st_ino))
            os.close(event.fd)
            if event.pidfd >= 0:
                os.close(event.pidfd)
        return None

    def forget_arena(self):
        """As if the supervisor had died too."""
        os.close(self.arena)
        self.arena = -1

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.control.close()
        self.broker.close()

    def close(self):
        self.kill()
        os.close(self.arena)
        for fd in self.groups:
            os.close(fd)
        self.groups = []
