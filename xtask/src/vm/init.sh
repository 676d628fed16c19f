#!/bin/sh
# Process 1 of the guest. The kernel's messages and what tests write to stderr
# go to the first serial port, the outcome to the second, which /port names.
export PATH=/bin:/sbin:/usr/bin HOME=/root TERM=linux
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t tracefs tracing /sys/kernel/tracing
mount -t debugfs debug /sys/kernel/debug
mount -t securityfs security /sys/kernel/security
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup /sys/fs/cgroup
while read -r module; do
    insmod "/modules/$module" || echo "cannot load $module"
done </modules/list
/bin/ip link set lo up

if [ -e /shell ]; then
    echo "tcpstate and the tests (tests --list) are here; exit ends the machine"
    setsid cttyhack sh
    poweroff -f
fi

port=/dev/$(cat /port)
stty raw -F "$port"
{
    echo "BEGIN $(cat /nonce) $(uname -r)"
    TCPSTATE_CAPTURE=$(cat /capture)
    export TCPSTATE_CAPTURE TCPSTATE_SKIPPED=/run/skipped TCPSTATE_FIGURES=/run/figures
    export CARGO_BIN_EXE_tcpstate=/bin/tcpstate
    # shellcheck source=/dev/null # what the host's environment says
    . /environment
    # Emulated, a start takes as many seconds as it takes tenths elsewhere.
    export TCPSTATE_PATIENCE=150
    tcpstate doctor
    cd /tmp
    mkdir /run/output
    # A result goes out at once, to be read also where the guest hangs.
    xargs -n 1 -P "$(cat /at-once)" one-test </wanted
    [ ! -e /run/skipped ] || sed 's/^/SKIPPED /' /run/skipped
    [ ! -e /run/figures ] || sed 's/^/FIGURES /' /run/figures
    find /run/output -type f | while read -r output; do
        echo "OUTPUT $output"
        sed 's/^/OUTPUT /' "$output"
    done
    # shellcheck disable=SC2046 # one argument a line, none has a space
    [ ! -e /bench ] || xtask bench $(cat /bench) | sed '/^$/d; s/^/FIGURES /'
    echo "END $(cat /nonce)"
} >"$port" 2>/dev/console </dev/null
sync
poweroff -f
