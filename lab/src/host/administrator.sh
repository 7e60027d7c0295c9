#!/bin/sh
# Plays the administrator of a host: types what docs/host.md says, and notes what comes of it in /var/lib/lab. What to
# do stands on the second disk: `measure N` (live updates), or `look` (at what is there).
set -u
out=/var/lib/lab
mkdir -p $out
read -r order updates </dev/vdb

say() { echo "LAB: $*" >/dev/ttyS0; }
finish() {
    sync
    say "done $1"
    systemctl poweroff
    exit
}
# What must not grow from one live update to the next.
weigh() {
    echo "$1 $(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)" \
        "$(find /sys/fs/bpf/blackout 2>/dev/null | wc -l)" \
        "$(ls /var/lib/blackout/*.blackout 2>/dev/null | wc -l)" \
        "$(du -sk /var/lib/blackout | cut -f1)" >>$out/weights.txt
}

# Booted, as far as it goes.
systemctl is-system-running --wait >/dev/null

if [ "$order" = look ]; then
    for recording in /var/lib/blackout/*.blackout; do
        [ -e "$recording" ] || continue
        blackout report --format json "$recording" >"$out/$(basename "$recording").json" 2>>$out/look.err
        echo "$? $recording" >>$out/look.txt
    done
    blackout last >$out/last.txt 2>&1
    finish 0
fi

if ! [ -x /usr/bin/blackout ]; then
    say "installing"
    dpkg -i /root/blackout.deb >$out/install.txt 2>&1 || { say "error dpkg -i failed"; finish 1; }
    blackout setup >$out/plan.txt 2>&1
    blackout setup --apply >$out/setup.txt 2>&1 || { say "error blackout setup failed"; finish 1; }
    [ "$updates" -lt 5 ] || sed -i 's/^KEEP=.*/KEEP=4/' /etc/default/blackout
    systemd-analyze security --no-pager blackout-load blackout-arm blackout-collect >$out/security.txt 2>&1
    systemd-analyze security --no-pager | grep blackout >>$out/scores.txt 2>&1
    su -s /bin/sh nobody -c 'blackout arm' >$out/nobody.txt 2>&1
    say "rebooting"
    sync
    systemctl reboot
    exit
fi

[ -e $out/check.txt ] || blackout check >$out/check.txt 2>&1
count=$(cat $out/count 2>/dev/null || echo 0)
if grep -q ' blackout.run=' /proc/cmdline; then
    while systemctl is-active -q blackout-collect; do sleep 0.2; done
    count=$((count + 1))
    echo $count >$out/count
    say "live update $count: $(cat $out/guests.txt 2>/dev/null)"
    blackout last >$out/last.txt 2>&1 || { say "error blackout last failed"; finish 1; }
    blackout last --format json >$out/last-$count.json
    weigh $count
    systemctl --failed --no-legend >$out/failed.txt
    journalctl -b -u 'blackout-*' --no-pager >$out/journal-$count.txt 2>&1
fi
[ "$count" -lt "$updates" ] || finish 0
systemctl start lab-guests || { say "error no guest runs"; finish 1; }
say "systemctl kexec"
systemctl kexec || { say "error systemctl kexec failed"; finish 1; }
