"""Sets one relation between whoever holds the port and whoever asks for it.

python3 stage.py NAME: a line of JSON per step, and a step per line of input. First who is there
(`holders`, what ends with the stage: `end`), then the failed call (`caller`, `errno`), then what
`explain` says below the caller (`root`, `user`).
"""
import ctypes, errno, json, os, signal, socket, subprocess, sys, time

PORT, HERE = 8080, os.path.abspath(__file__)
TCPSTATE = os.environ["TCPSTATE"]
libc = ctypes.CDLL(None, use_errno=True)
signal.alarm(50)
ending, children = [], []


def say(**what):
    print(json.dumps(what), flush=True)


def step():
    if not sys.stdin.readline():
        os._exit(0)


def new():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return s


def listen():
    s = new()
    s.bind(("127.0.0.1", PORT))
    s.listen()
    return s


def call():
    try:
        new().bind(("127.0.0.1", PORT))
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]


def explain(*prefix):
    line = [*prefix, TCPSTATE, "explain", str(PORT), "--addr", "127.0.0.1", "--reuseaddr", "--json"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=20)
    return json.loads(done.stdout or json.dumps({"failed": done.stderr}))


NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"]


def ask(holders):
    """The caller's part."""
    say(holders=holders, end=ending)
    step()
    say(caller=os.getpid(), errno=call())
    step()
    say(root=explain(), user=explain(*NOBODY))
    step()
    for pid in ending:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    os._exit(0)


def fork(act):
    """A child that does something; what it tells of itself first."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        signal.alarm(50)
        tell = lambda text="": os.write(theirs, (text or str(os.getpid())).encode())
        act(tell)
        time.sleep(50)
        os._exit(0)
    os.close(theirs)
    ending.append(pid)
    return int(os.read(ours, 20) or b"0")


def other(code):
    """Another program of the same parent, which tells its number once it listens."""
    code = f"import signal; signal.alarm(50)\nROLE = 1\n{code}"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    pid = int(child.stdout.readline())
    ending.extend({child.pid, pid})
    children.append(child)
    return pid


LISTEN = """
import os, socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", 8080)); s.listen()
"""
TELL = "print(os.getpid(), flush=True)\ntime.sleep(50)\n"
# No parent of the holder's.
AGAIN = [sys.executable, HERE]


def itself():
    globals()["kept"] = listen()
    ask([os.getpid()])


def before_exec():
    s = listen()
    s.set_inheritable(True)
    os.execv(sys.executable, [*AGAIN, "now_asks"])


def now_asks():
    ask([os.getpid()])


def handed_over():
    ours, theirs = socket.socketpair()

    def make(tell):
        s = listen()
        socket.send_fds(theirs, [b"x"], [s.fileno()])
        tell()
        os._exit(0)

    fork(make)
    os.wait()
    ending.clear()
    globals()["kept"] = socket.recv_fds(ours, 1, 1)
    ask([os.getpid()])


def parent():
    s = listen()
    holder = os.getpid()
    if os.fork() == 0:
        signal.alarm(50)
        s.close()
        ask([holder])
    os.wait()


def grandparent():
    s = listen()
    holder = os.getpid()
    if os.fork() == 0:
        s.close()
        if os.fork() == 0:
            signal.alarm(50)
            ask([holder])
        os.wait()
        os._exit(0)
    os.wait()


def child():
    ask([fork(lambda tell: (globals().__setitem__("kept", listen()), tell()))])


def grandchild():
    def middle(tell):
        pid = fork(lambda tell: (globals().__setitem__("kept", listen()), tell()))
        tell(str(pid))

    pid = fork(middle)
    ending.append(pid)
    ask([pid])


def sibling():
    pid = other(LISTEN + TELL)
    if os.fork() == 0:
        signal.alarm(50)
        ask([pid])
    os.wait()


def second_start():
    """The same command twice, of one parent."""
    if os.environ.get("ROLE") == "holder":
        globals()["kept"] = listen()
        print(os.getpid(), flush=True)
        time.sleep(50)
    if os.environ.get("ROLE") == "caller":
        ending.append(int(os.environ["HOLDER"]))
        ask([int(os.environ["HOLDER"])])
    line = [*AGAIN, "second_start"]
    holder = subprocess.Popen(line, env={**os.environ, "ROLE": "holder"}, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    holder.stdout.readline()
    subprocess.run(line, env={**os.environ, "ROLE": "caller", "HOLDER": str(holder.pid)})


def orphan():
    """Its wrapper had a job of its own, and has ended."""
    # In the session of process 1 nothing tells who was adopted by it from its own children.
    if os.getpgrp() != os.getpid():
        os.setsid()

    def wrapper(tell):
        os.setpgid(0, 0)
        code = LISTEN + f"os.write({dup}, str(os.getpid()).encode())\ntime.sleep(50)\n"
        subprocess.Popen([sys.executable, "-c", f"import signal; signal.alarm(50)\n{code}"], pass_fds=[dup])
        os._exit(0)

    ours, dup = os.pipe()
    os.set_inheritable(dup, True)
    fork(wrapper)
    os.wait()
    pid = int(os.read(ours, 20))
    ending[:] = [pid]
    until(lambda: stat(pid)[1] != os.getpid())
    ask([pid])


def stat(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return fields[0], int(fields[1])


def until(it_is):
    for _ in range(500):
        if it_is():
            return
        time.sleep(0.01)


def respawned():
    """Asked for twice; in between the holder is killed, and its parent starts it again."""
    code = f"""
import os, subprocess, sys, time
while True:
    one = subprocess.Popen([sys.executable, "-c", {("import signal; signal.alarm(50)" + LISTEN + TELL)!r}], stdout=subprocess.PIPE)
    print(one.stdout.readline().decode().strip(), flush=True)
    one.wait()
"""
    first = other(code)
    if os.fork() == 0:
        signal.alarm(50)
        say(holders=[first], end=ending)
        step()
        say(caller=os.getpid(), errno=call())
        step()
        os.kill(first, signal.SIGKILL)
        second = int(children[0].stdout.readline())
        ending.append(second)
        ask([second])
    os.wait()


def supervised():
    """Run by a master that is called like gunicorn and keeps no descriptor."""
    path = os.path.join(os.environ["FOLDER"], "gunicorn")
    with open(path, "w") as file:
        file.write("import signal; signal.alarm(50)\nimport os\nif os.fork(): os.wait()\n" + LISTEN + TELL)
    master = subprocess.Popen([sys.executable, path], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    worker = int(master.stdout.readline())
    ending.extend([master.pid, worker])
    if os.fork() == 0:
        signal.alarm(50)
        ask([worker])
    os.wait()


def stopped():
    pid = other(LISTEN + TELL)
    os.kill(pid, signal.SIGSTOP)
    until(lambda: stat(pid)[0] == "T")
    if os.fork() == 0:
        signal.alarm(50)
        ask([pid])
    os.wait()


def frozen():
    """In the control group that is frozen from outside."""
    group = os.environ["GROUP"]
    pid = other(f"open('{group}/cgroup.procs', 'w').write('0')\n" + LISTEN + TELL)
    open(f"{group}/cgroup.freeze", "w").write("1")
    until(lambda: "frozen 1" in open(f"{group}/cgroup.events").read())
    if os.fork() == 0:
        signal.alarm(50)
        ask([pid])
    os.wait()


def thread():
    code = """
import ctypes, threading
def own():
    assert ctypes.CDLL(None).unshare(0x400) == 0
    global s
""" + LISTEN.replace("\n", "\n    ") + """
    print(os.getpid(), flush=True)
    time.sleep(50)
threading.Thread(target=own).start()
"""
    pid = other(code)
    if os.fork() == 0:
        signal.alarm(50)
        ask([pid])
    os.wait()


def accepting():
    """A thread is inside accept, and another one has closed the descriptor."""
    code = LISTEN + """
import threading
threading.Thread(target=lambda: s.accept(), daemon=True).start()
def is_inside(tid):
    return open(f"/proc/self/task/{tid}/syscall").read().split()[0] in ("43", "288", "242", "202")
while not any(is_inside(tid) for tid in os.listdir("/proc/self/task")): time.sleep(0.01)
os.close(s.fileno())
""" + TELL
    pid = other(code)
    if os.fork() == 0:
        signal.alarm(50)
        ask([pid])
    os.wait()


def in_flight():
    """Sent over a unix socket, and not received; whoever made it has ended."""
    globals()["kept"] = socket.socketpair()

    def make(tell):
        s = listen()
        socket.send_fds(kept[0], [b"x"], [s.fileno()])
        tell()
        os._exit(0)

    fork(make)
    os.wait()
    ending.clear()
    ask([])


def io_uring():
    """Registered with a ring, and closed."""
    code = LISTEN + """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
ring = libc.syscall(425, 2, ctypes.create_string_buffer(120))
if ring < 0 or libc.syscall(427, ring, 2, (ctypes.c_int * 1)(s.fileno()), 1) < 0:
    print(0, flush=True); sys.exit()
s.close()
if "socket:[" not in open(f"/proc/self/fdinfo/{ring}").read():
    print(0, flush=True); sys.exit()
""" + TELL
    pid = other(code)
    if pid == 0:
        return say(skip="this kernel does not show which files an io_uring has")
    if os.fork() == 0:
        signal.alarm(50)
        ask([pid])
    os.wait()


def kernel():
    line = ["ip", "mptcp", "endpoint", "add", "127.0.0.1", "port", str(PORT), "signal"]
    if subprocess.run(line, stderr=subprocess.DEVNULL).returncode:
        return say(skip="this kernel opens no socket of its own for an MPTCP endpoint")
    ask([])


globals()[sys.argv[1]]()
