// Command pause is the sandbox container of every pod of the test cluster: it
// holds the pod's namespaces and does nothing until SIGTERM.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	<-end
}
