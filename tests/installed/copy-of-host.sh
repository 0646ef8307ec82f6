#!/bin/bash
# Makes a private copy of this host and waits in it until its standard input ends: a root of its own (what is written goes
# to DIRECTORY/upper), mounts, network and names of its own. Processes and cgroups are the host's, as Mayfly demands.
# Usage, by host.py only: copy-of-host.sh DIRECTORY TREE
set -eu
directory=$1 tree=$2
cd "$directory"
mkdir upper work root docker
mount -t overlay overlay -o "lowerdir=/,upperdir=upper,workdir=work" root
cd root
# The tree may lie on another file system than the host's root.
[[ -e .$tree/meson.build ]] || { mkdir -p ".$tree" && mount --bind "$tree" ".$tree"; }
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir -p var/lib/docker etc/docker
mount --bind "$directory/docker" var/lib/docker

mount -t proc proc proc
# What is set there is the kernel's, so the whole machine's; only the network is the copy's own.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,rw proc/sys/net
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup

mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
for device in null zero full random urandom tty; do
	touch "dev/$device"
	mount --bind "/dev/$device" "dev/$device"
done
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for number in 0 1 2; do ln -s "/proc/self/fd/$number" "dev/$(cut -d' ' -f$((number + 1)) <<<'stdin stdout stderr')"; done
busybox ip link set lo up
hostname mayfly-copy
# Not chroot: a process that enters this mount namespace must find this root.
mkdir -p .host
pivot_root . .host
cd /
umount -l /.host
rmdir /.host
# As systemd has it.
mount --make-rshared /
echo ready
exec cat
