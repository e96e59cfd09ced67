package process

import (
	"os"
	"testing"
)

func TestParseMemory(t *testing.T) {
	for name, tc := range map[string]struct{ stat, prefix string }{
		"version 1": {"cache 1\nrss 1\ntotal_cache 500\ntotal_rss 300\ntotal_shmem 20\ntotal_inactive_file 100\n", "total_"},
		"version 2": {"anon 300\nfile 500\nkernel 7\nshmem 20\ninactive_file 100\n", ""},
	} {
		got, err := parseMemory("1000\n", tc.stat, tc.prefix)
		if want := (Memory{Anonymous: 320, Kernel: 200, WorkingSet: 900}); err != nil || got != want || got.Unreclaimable() != 520 {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
	}
	for _, stat := range []string{"", "anon 1\nfile 1\nshmem 1\n", "anon x\nfile 1\nshmem 1\ninactive_file 1\n"} {
		if _, err := parseMemory("1000", stat, ""); err == nil {
			t.Errorf("%q: want an error", stat)
		}
	}
	if _, err := parseMemory("max", "", ""); err == nil {
		t.Error("no number: want an error")
	}
}

func TestMemoryGroup(t *testing.T) {
	for name, tc := range map[string]struct{ groups, dir, usage string }{
		"version 1": {"9:name=systemd:/\n4:memory:/kubepods/x\n0::/other\n", "memory/kubepods/x", "memory.usage_in_bytes"},
		"version 2": {"0::/kubepods/x\n", "/kubepods/x", "memory.current"},
	} {
		if dir, usage, _ := memoryGroup(tc.groups); dir != tc.dir || usage != tc.usage {
			t.Errorf("%s: got %s/%s, want %s/%s", name, dir, usage, tc.dir, tc.usage)
		}
	}
}

func TestMemoryOfNoProcess(t *testing.T) {
	if _, err := os.Stat("/proc/1073741824"); err == nil {
		t.Fatal("a process beyond the kernel's largest number")
	}
	if _, err := ReadMemory(1 << 30); err == nil {
		t.Error("want an error")
	}
}
