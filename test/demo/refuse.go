package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// refuse applies broken.yaml and shows the refusal as its user meets it.
func (d *demo) refuse(ctx context.Context) error {
	d.step(`kubectl apply -f test/demo/broken.yaml: its annotation says "evn" instead of "even"`)
	_, err := d.Cluster.Kubectl(ctx, "apply", "-f", d.Path("test/demo/broken.yaml"))
	if err == nil {
		return errors.New("broken.yaml was not refused")
	}
	_, message, _ := strings.Cut(err.Error(), "Error from server")
	fmt.Fprintf(d.out, "\n   Error from server%s\n\n", strings.TrimSpace(message))
	if !strings.Contains(message, `"evn"`) {
		return errors.New("the refusal of broken.yaml does not name the mistake")
	}
	return nil
}
