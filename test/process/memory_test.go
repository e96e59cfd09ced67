package process

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMemory(t *testing.T) {
	const lines = "anon 300\nfile 500\nkernel 7\nshmem 20\ninactive_file 100\n"
	for name, test := range map[string]struct {
		names       accounting
		usage, stat string
		want        Memory // without it, an error
	}{
		"version 1": {version1, "1000\n", "cache 1\nrss 1\ntotal_cache 500\ntotal_rss 300\ntotal_shmem 20\ntotal_inactive_file 100\n", Memory{320, 200, 900}},
		"version 2": {version2, "1000\n", lines, Memory{320, 200, 900}},
		"no number": {version2, "max\n", lines, Memory{}},
		"no value":  {version2, "1000\n", lines + "anon x\n", Memory{}},
		"no line":   {version2, "1000\n", "anon 1\nfile 1\nshmem 1\n", Memory{}},
		"no lines":  {version2, "1000\n", "", Memory{}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range map[string]string{test.names.usage: test.usage, "memory.stat": test.stat} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := test.names.read(dir); got != test.want || (err == nil) != (test.want != Memory{}) {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}

func TestMemoryGroup(t *testing.T) {
	for groups, want := range map[string]struct {
		dir   string
		names accounting
	}{
		"9:name=systemd:/\n4:memory:/kubepods/x\n0::/other\n": {"memory/kubepods/x", version1},
		"0::/kubepods/x\n": {"/kubepods/x", version2},
	} {
		if dir, names := memoryGroup(groups); dir != want.dir || names != want.names {
			t.Errorf("got %s, %+v, want %+v", dir, names, want)
		}
	}
}
