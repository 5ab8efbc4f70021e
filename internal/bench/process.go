package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// usage is what processes have used.
type usage struct {
	cpu  float64 // seconds, user and system
	peak int64   // bytes of memory at most resident, of all together
}

// clockTicks is how many ticks of /proc/PID/stat are a second: USER_HZ, which
// is 100 on every Linux that Go runs on (proc(5)).
const clockTicks = 100

// measureAll reads what processes have used together.
func measureAll(pids []int) (all usage, err error) {
	for _, pid := range pids {
		u, err := measure(pid)
		if err != nil {
			return usage{}, err
		}
		all.cpu += u.cpu
		all.peak += u.peak
	}
	return all, nil
}

// measure reads what a process has used.
func measure(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, fmt.Errorf("measure process %d: %w", pid, err)
	}
	// The name in brackets may hold anything; the fields begin behind it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return usage{}, fmt.Errorf("measure process %d: /proc/%d/stat is too short", pid, pid)
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return usage{}, fmt.Errorf("measure process %d: /proc/%d/stat has no times", pid, pid)
	}
	u := usage{cpu: float64(user+system) / clockTicks}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return usage{}, fmt.Errorf("measure process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			if kib, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				u.peak = kib << 10
			}
		}
	}
	return u, nil
}
