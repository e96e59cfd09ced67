package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
)

const sbomTool = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.9.0"

// platforms are those that people run the commands on. Windows is not one of them: nothing here could test a program for it, and
// the one for Linux runs in WSL.
var platforms = []struct{ os, arch string }{
	{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"},
}

func (r *release) buildPrograms(ctx context.Context) error {
	for _, p := range platforms {
		name := fmt.Sprintf("sts-webhook-%s-%s", p.os, p.arch)
		r.report("%s", name)
		// Go's own record of the checkout would depend on its tags and on how deep it was cloned.
		env := []string{"CGO_ENABLED=0", "GOOS=" + p.os, "GOARCH=" + p.arch, "GOAMD64=v1", "GOARM64=v8.0"}
		_, err := command(ctx, env, "go", "build", "-trimpath", "-buildvcs=false", "-o", r.path(name), "-ldflags",
			fmt.Sprintf("-s -w -X sts-mutating-webhook/internal/app.version=%s -X sts-mutating-webhook/internal/app.revision=%s", r.version, r.revision), ".")
		if err != nil {
			return err
		}
		if err := r.writeSBOM(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

var sbomTime = regexp.MustCompile(`("timestamp": ")[^"]*(")`)

// writeSBOM lists the modules that are in a program, with the hashes of go.sum. Platforms differ in their modules.
func (r *release) writeSBOM(ctx context.Context, program string) error {
	// The document names its tool by the tool's hash: -trimpath keeps this machine's paths out of that.
	text, err := command(ctx, nil, "go", "run", "-trimpath", sbomTool, "bin", "-json", "-noserial", "-std", "-version", r.version, r.path(program))
	if err != nil {
		return err
	}
	if n := len(sbomTime.FindAllString(text, -1)); n != 1 {
		return fmt.Errorf("set the time of the SBOM of %s: it has %d time stamps, want 1", program, n)
	}
	text = sbomTime.ReplaceAllString(text, "${1}"+r.date.Format("2006-01-02T15:04:05Z")+"${2}")
	if err := os.WriteFile(r.path(program+".cdx.json"), []byte(text+"\n"), 0o644); err != nil {
		return fmt.Errorf("write SBOM: %w", err)
	}
	return nil
}
