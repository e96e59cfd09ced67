package cluster

import (
	"context"
	"errors"
	"fmt"
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
		t.Setenv("CLUSTER_NAME", test.env)
		got, err := ResolveName(test.name)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, test.want)
		}
	}
}

func TestUpRefusesAName(t *testing.T) {
	if c, err := Up(t.Context(), Options{Name: "a/b"}); err == nil || !strings.HasPrefix(err.Error(), "check ") {
		t.Errorf("Up: got %v, %v; want a refused name", c, err)
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
	own := identity(os.Getpid())
	for sentence, test := range map[string]struct {
		record string
		want   bool
	}{
		"same pid and start":                {own, true},
		"same pid, started at another time": {own + "1", false},
		"same pid, gone":                    {fmt.Sprint(os.Getpid()), false},
		"no record":                         {"", false},
	} {
		c := &Cluster{dir: t.TempDir()}
		if err := errors.Join(os.Mkdir(c.path("pids"), 0o755), os.WriteFile(c.path("pids", "daemon"), []byte(test.record), 0o644)); err != nil {
			t.Fatal(err)
		}
		if got := c.alive("daemon"); got != test.want {
			t.Errorf("%s: alive: got %v, want %v", sentence, got, test.want)
		}
	}
}

func TestParseHierarchies(t *testing.T) {
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
		all := parseHierarchies(strings.Join(test.lines, "\n"))
		if len(all) != test.found || tracking(all).mount != test.want {
			t.Errorf("%s: got %v tracked by %s, want %d tracked by %s", name, all, tracking(all).mount, test.found, test.want)
		}
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
