// Registry is an OCI registry on loopback for the charts of a test: the handlers of the
// distribution project, with everything in memory. It prints its address and serves until
// it is ended.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/sirupsen/logrus"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("serve registry: %w", err)
	}
	config := &configuration.Configuration{Storage: configuration.Storage{"inmemory": configuration.Parameters{}}}
	logrus.SetLevel(logrus.FatalLevel) // a blob that is asked for before it is pushed is an error to it
	config.Log.AccessLog.Disabled = true
	config.HTTP.Secret = "of a test" // one process only
	fmt.Println(listener.Addr())
	return fmt.Errorf("serve registry: %w", http.Serve(listener, handlers.NewApp(context.Background(), config)))
}
