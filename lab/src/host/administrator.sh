#!/bin/sh
# Plays the administrator of a host: types what docs/host.md says, and notes what comes of it in /var/lib/lab. What to
# do stands on the second disk: `measure N` (live updates), or `look` (at what is there).
set -u
out=/var/lib/lab
mkdir -p $out
read -r order updates </dev/vdb

say() { echo "LAB: $*" >/dev/ttyS0; }
finish() {
    [ "$1" = 0 ] || journalctl -b --no-pager >$out/journal.txt 2>&1
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

# What a user without rights may do with a recording that was given to them.
as_nobody() {
    install -m 0644 "$1" /tmp/given.blackout
    nobody() { su -s /bin/sh nobody -c "cd /tmp && $1"; }
    nobody 'blackout report given.blackout' >$out/nobody-report.txt 2>&1
    nobody 'blackout compare given.blackout -- given.blackout' >$out/nobody-compare.txt 2>&1
    nobody 'blackout export --openmetrics given.prom given.blackout && cat given.prom' >$out/nobody-export.txt 2>&1
    # Looks at it in a terminal, which has no size until it is told one, and leaves once it shows its views.
    mkfifo /tmp/keys
    script --quiet --flush --return --command \
        "stty rows 24 cols 80; su -s /bin/sh nobody -c 'TERM=xterm blackout tui /tmp/given.blackout'" \
        $out/nobody-tui.txt </tmp/keys >/dev/null &
    terminal=$!
    exec 3>/tmp/keys
    until grep -q overview $out/nobody-tui.txt 2>/dev/null || ! kill -0 $terminal 2>/dev/null; do sleep 0.2; done
    # In a shell of its own: the terminal may have ended, and then the signal ends that shell only.
    (printf q >&3)
    wait $terminal
    echo "tui $?" >>$out/nobody-tui.txt
    exec 3>&-
    su -s /bin/sh nobody -c 'blackout arm' >$out/nobody-arm.txt 2>&1
    su -s /bin/sh nobody -c 'blackout last' >$out/nobody-last.txt 2>&1
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
if [ "$count" -ge "$updates" ]; then
    [ "$updates" = 0 ] || as_nobody "$(ls -t /var/lib/blackout/*.blackout | head -n 1)"
    finish 0
fi
systemctl start lab-guests || { say "error no guest runs"; finish 1; }
say "kexec"
systemctl kexec || { say "error systemctl kexec failed"; finish 1; }
