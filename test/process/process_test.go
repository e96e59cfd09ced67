package process

import (
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestOwnProcess(t *testing.T) {
	before, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	spin := time.Now()
	for time.Since(spin) < 50*time.Millisecond {
	}
	after, err := CPU(os.Getpid())
	if used := after - before; err != nil || used < time.Millisecond || used > 10*time.Second {
		t.Errorf("50 ms of work took %v (%v)", used, err)
	}
	if began, err := Started(os.Getpid()); err != nil || time.Since(began) < 0 || time.Since(began) > 30*time.Minute {
		t.Errorf("began: got %v, %v", began, err)
	}
}

func TestPIDOfAPodThatDoesNotRun(t *testing.T) {
	var pod corev1.Pod
	for range 2 {
		if pid, err := PID(pod, "/sts-webhook"); err == nil {
			t.Errorf("got %d, want an error", pid)
		}
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{ContainerID: "containerd://00000000dead"}}
	}
	for _, read := range []func(int) error{
		func(pid int) error { _, err := CPU(pid); return err },
		func(pid int) error { _, err := ReadMemory(pid); return err },
		func(pid int) error { _, err := Started(pid); return err },
	} {
		if read(1<<30) == nil {
			t.Error("a process that does not exist: want an error")
		}
	}
}
