package chaos

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"sts-mutating-webhook/test/process"
)

// kill ends a replica without warning.
func (a *attempt) kill(pod corev1.Pod) error {
	now := time.Now()
	a.expect(now, now.Add(deadFor), killed...)
	found := process.All(pod, a.program)
	if len(found) == 0 {
		return fmt.Errorf("kill %s: it has no process %s", pod.Name, a.program)
	}
	for _, pid := range found {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			return fmt.Errorf("kill %s: %w", pod.Name, err)
		}
	}
	return nil
}
