#!/bin/sh
# Stands for ansible-playbook: writes down that it ran, outside of everything that davylamp keeps, takes a moment, and
# leaves the statistics that the callback plugin would. A playbook named fail.yml fails.
mode=real
while [ $# -gt 0 ]; do
    case "$1" in
        --limit) host=$2; shift ;;
        --check) mode=check ;;
        --diff) ;;
        -i | --extra-vars) shift ;;
        *) playbook=${1##*/} ;;
    esac
    shift
done
echo "$host $playbook $mode" >>"${0%/*}/trace"
sleep 0.05
failures=0
[ "$playbook" != fail.yml ] || failures=1
printf '{"event":"stats","hosts":{"%s":{"ok":1,"changed":1,"failures":%s,"unreachable":0,"skipped":0,"rescued":0,"ignored":0}},"tasks_skipped":0}\n' \
    "$host" "$failures" >"$DAVYLAMP_EVENTS"
exit $((failures * 2))
