#!/bin/sh
# Runs in the container of systemd_unit.py, as a service: does to the agent what befalls devices,
# and writes what systemd then says of it to /told.
say() { echo "$1=$2" >> /told; }
is() { systemctl show --value --property "$1" edgeloop-agent; }
wait_for() { # property, value
  for _ in $(seq 300); do
    [ "$(is "$1")" = "$2" ] && return
    sleep 0.2
  done
}
ready() { # a release is in charge, as the socket says
  for _ in $(seq 300); do
    /opt/edgeloop/bin/python /ready.py 2> /dev/null && return
    sleep 0.2
  done
  return 1
}

systemctl start edgeloop-agent # comes back when the agent has said that it is ready
say started "$(is SubState)"
say user "$(stat --format %U "/proc/$(is MainPID)")"
before=$(is WatchdogTimestampMonotonic)
sleep 4
[ "$(is WatchdogTimestampMonotonic)" -gt "$before" ] && say watchdog heard
ready && say answers yes
in_its_place() { nsenter --target "$(is MainPID)" --mount -- "$@" 2> /dev/null; }
in_its_place touch /var/lib/edgeloop/.trial && say state written
in_its_place touch /etc/.trial || say system refused

kill -KILL "$(is MainPID)"
wait_for NRestarts 1
wait_for SubState running
ready && say killed "again $(is SubState)"

mkdir --parents /run/systemd/system/edgeloop-agent.service.d
printf '[Service]\nWatchdogSec=4\nTimeoutStopSec=2\nRestartSec=1\n' \
  > /run/systemd/system/edgeloop-agent.service.d/quick.conf
systemctl daemon-reload
systemctl restart edgeloop-agent
kill -STOP "$(is MainPID)"
for _ in $(seq 100); do # counted anew with the restart
  [ "$(is NRestarts)" -gt 0 ] && break
  sleep 0.2
done
wait_for SubState running
ready && say hung "again $(is SubState)"

systemctl stop edgeloop-agent
say stopped "$(is Result) $(is ExecMainStatus)"
systemctl --no-block poweroff
