package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestResolveName(t *testing.T) {
	tests := map[string]struct {
		name, env, want string
	}{
		"nothing said is the default":          {"", "", DefaultName},
		"the environment comes second":         {"", "other", "other"},
		"the argument comes first":             {"mine", "other", "mine"},
		"30 characters fit":                    {strings.Repeat("a", 30), "", strings.Repeat("a", 30)},
		"31 characters do not":                 {strings.Repeat("a", 31), "", ""},
		"a path is no name":                    {"../other", "", ""},
		"upper case is no name":                {"Mine", "", ""},
		"a dash at the end is no name":         {"mine-", "", ""},
		"a bad environment is refused as well": {"", "a/b", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CLUSTER_NAME", test.env)
			got, err := ResolveName(test.name)
			if got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("ResolveName(%q): got %q, %v; want %q", test.name, got, err, test.want)
			}
		})
	}
}

func TestUpRefusesImpossibleOptions(t *testing.T) {
	for sentence, options := range map[string]Options{
		"a name that is a path": {Name: "a/b"},
		"a negative node count": {Name: "refused", Nodes: -1},
		"more than nine nodes":  {Name: "refused", Nodes: 10},
	} {
		t.Run(sentence, func(t *testing.T) {
			if c, err := Up(t.Context(), options); err == nil || !strings.HasPrefix(err.Error(), "check ") {
				t.Errorf("Up: got %v, %v; want a refused option", c, err)
			}
		})
	}
}

func TestAttachWithoutACluster(t *testing.T) {
	if _, err := Attach("never-brought-up"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Attach: got %v, want fs.ErrNotExist", err)
	}
}

// A pid in a record may belong to another process by now; it must not be taken
// for the daemon, let alone be killed.
func TestReusedPIDIsNotTheDaemon(t *testing.T) {
	started, err := startTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		start uint64
		want  bool
	}{
		"same pid and start":                {started, true},
		"same pid, started at another time": {started - 1, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := &Cluster{dir: t.TempDir()}
			content, _ := json.Marshal(record{PID: os.Getpid(), Start: test.start})
			if err := os.Mkdir(c.path("pids"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := writeFile(c.path("pids", "daemon"), content, 0o644); err != nil {
				t.Fatal(err)
			}
			if got := c.alive("daemon"); got != test.want {
				t.Errorf("alive: got %v, want %v", got, test.want)
			}
		})
	}
}

func TestParseHierarchy(t *testing.T) {
	v1 := "34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset"
	named := "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd"
	unified := "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:7 - cgroup2 cgroup2 rw"
	other := "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard"
	tests := map[string]struct {
		lines []string
		found int
		want  string
	}{
		"v2 alone tracks":                       {[]string{other, unified}, 1, "/sys/fs/cgroup/unified"},
		"v2 beside v1 tracks":                   {[]string{v1, named, unified}, 3, "/sys/fs/cgroup/unified"},
		"systemd's tracks where there is no v2": {[]string{v1, named, other}, 2, "/sys/fs/cgroup/systemd"},
		"any other is better than none":         {[]string{other, v1}, 1, "/sys/fs/cgroup/cpuset"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var all []hierarchy
			for _, line := range test.lines {
				if h, ok := parseHierarchy(line); ok {
					all = append(all, h)
				}
			}
			if len(all) != test.found || tracking(all).mount != test.want {
				t.Errorf("got %v tracked by %s, want %d tracked by %s", all, tracking(all).mount, test.found, test.want)
			}
		})
	}
}

// An interrupted build must not be mistaken for a finished one.
func TestBinariesAreCompleteOrAbsent(t *testing.T) {
	dir := t.TempDir()
	for _, p := range programs {
		if complete(dir) {
			t.Errorf("complete without %s", p)
		}
		if err := os.WriteFile(filepath.Join(dir, p), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if !complete(dir) {
		t.Error("not complete with every program")
	}
}

func TestLockHasOneHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := lockFile(short, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second holder: got %v, want to wait in vain", err)
	}
	unlock()
	again, err := lockFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	again()
}
