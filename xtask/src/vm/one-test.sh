#!/bin/sh
# Runs one test of the guest in a process of its own. What it printed is kept if it failed.
output=/run/output/$1
if timeout -k 5 "$(cat /limit)" tests --color never --nocapture --include-ignored --exact "$1" >"$output" 2>&1; then
    result=ok
    rm "$output"
else
    result=FAILED
fi
# One write, so that two tests at a time do not mix their lines.
echo "test $1 ... $result"
