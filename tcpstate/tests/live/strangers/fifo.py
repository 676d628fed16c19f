"""Run by a user without privileges: network namespaces that are reached by a mount
alone, over which a FIFO is mounted and taken away again, as fast as it goes.

Arguments: how many namespaces at a time, and for how many seconds."""

import ctypes
import os
import socket
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 0x1000, 0x4000, 1 << 18, 2
PORT = ("127.0.0.1", 4000)
EACH_S = 0.3


def check(result, what):
    if result != 0:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")


def listen_in_a_namespace(begin, ready):
    check(libc.unshare(CLONE_NEWNET), "a network namespace")
    os.write(ready, b"x")
    os.read(begin, 1)
    # Who watches looks for a namespace that he hears of.
    listening = socket.socket()
    listening.bind(PORT)
    listening.listen()
    time.sleep(EACH_S)
    os._exit(0)


uid, gid = os.getuid(), os.getgid()
check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "a user namespace")
for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "a view of our own")
check(libc.mount(b"t", b"/tmp", b"tmpfs", 0, None), "tmpfs")
os.mkfifo("/tmp/fifo")
names = [f"/tmp/n{number}".encode() for number in range(int(sys.argv[1]))]
for name in names:
    open(name, "w").close()
end = time.monotonic() + float(sys.argv[2])
print("ready", flush=True)
while time.monotonic() < end:
    children = []
    for name in names:
        # The process comes later in /proc than we do, and so does its namespace.
        begin, say_begin = os.pipe()
        ready, say_ready = os.pipe()
        pid = os.fork()
        if pid == 0:
            listen_in_a_namespace(begin, say_ready)
        os.read(ready, 1)
        check(libc.mount(f"/proc/{pid}/ns/net".encode(), name, None, MS_BIND, None), "bind mount")
        os.write(say_begin, b"x")
        for fd in (begin, say_begin, ready, say_ready):
            os.close(fd)
        children.append(pid)
    until = time.monotonic() + EACH_S
    while time.monotonic() < until:
        for name in names:
            libc.mount(b"/tmp/fifo", name, None, MS_BIND, None)
        for name in names:
            libc.umount2(name, MNT_DETACH)
    for name in names:
        libc.umount2(name, MNT_DETACH)
    for pid in children:
        os.waitpid(pid, 0)
