package cluster

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"sort"
	"strings"
	"time"
)

// ImageFile is one regular file of an image.
type ImageFile struct {
	// Path is absolute inside the image; its parent directories are made.
	Path string
	// Mode holds the permission bits; zero means 0644.
	Mode fs.FileMode
	// Source is the file on this machine to copy. When it is empty, Content is used.
	Source string
	// Content is the file's text when Source is empty.
	Content []byte
}

// Image describes a single-layer container image.
type Image struct {
	// Name is the reference pods use, for example "sts-webhook:latest".
	Name string
	// Files are owned by root; the zero value is an empty file system.
	Files []ImageFile
	// Entrypoint and Cmd are in exec form.
	Entrypoint, Cmd []string
	// Env holds KEY=value pairs.
	Env []string
	// User is "uid", "uid:gid" or a name; empty means root. The kubelet can
	// check runAsNonRoot only against a numeric one.
	User string
	// Labels are free-form.
	Labels map[string]string
}

// BuildImage writes the image to the file archive in the format of "docker
// save", which needs no container engine. Equal input gives equal bytes: every
// time stamp is the epoch. Existing archives are replaced as a whole.
func BuildImage(archive string, img Image) error {
	layer, err := layerTar(img.Files)
	if err != nil {
		return fmt.Errorf("build image %s: %w", img.Name, err)
	}
	config, err := json.Marshal(imageConfig(img, digest(layer)))
	if err != nil {
		return fmt.Errorf("build image %s: %w", img.Name, err)
	}
	configName := digest(config) + ".json"
	manifest, err := json.Marshal([]map[string]any{{
		"Config": configName, "RepoTags": []string{img.Name}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return fmt.Errorf("build image %s: %w", img.Name, err)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range []ImageFile{
		{Path: configName, Content: config},
		{Path: "layer.tar", Content: layer},
		{Path: "manifest.json", Content: manifest},
	} {
		if err := addFile(w, f.Path, 0o644, f.Content); err != nil {
			return fmt.Errorf("build image %s: %w", img.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("build image %s: %w", img.Name, err)
	}
	return writeFile(archive, out.Bytes(), 0o644)
}

// imageConfig is the image's configuration in the form of the OCI image
// specification (https://github.com/opencontainers/image-spec/blob/main/config.md).
func imageConfig(img Image, diffID string) map[string]any {
	return map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"created":      time.Unix(0, 0).UTC(),
		"config": map[string]any{
			"Entrypoint": img.Entrypoint, "Cmd": img.Cmd, "Env": img.Env,
			"User": img.User, "Labels": img.Labels,
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + diffID}},
	}
}

func layerTar(files []ImageFile) ([]byte, error) {
	sorted := append([]ImageFile(nil), files...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].Path < sorted[j].Path })
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	made := map[string]bool{}
	for _, f := range sorted {
		if !path.IsAbs(f.Path) {
			return nil, fmt.Errorf("add file %q: the path is not absolute", f.Path)
		}
		if err := addParents(w, path.Dir(path.Clean(f.Path)), made); err != nil {
			return nil, err
		}
		content := f.Content
		if f.Source != "" {
			var err error
			if content, err = os.ReadFile(f.Source); err != nil {
				return nil, fmt.Errorf("read file: %w", err)
			}
		}
		mode := f.Mode
		if mode == 0 {
			mode = 0o644
		}
		if err := addFile(w, strings.TrimPrefix(path.Clean(f.Path), "/"), mode, content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("write layer: %w", err)
	}
	return out.Bytes(), nil
}

// addParents adds dir and the directories above it, once each.
func addParents(w *tar.Writer, dir string, made map[string]bool) error {
	if dir == "/" || made[dir] {
		return nil
	}
	if err := addParents(w, path.Dir(dir), made); err != nil {
		return err
	}
	made[dir] = true
	header := &tar.Header{
		Typeflag: tar.TypeDir, Name: strings.TrimPrefix(dir, "/") + "/", Mode: 0o755, ModTime: time.Unix(0, 0),
	}
	if err := w.WriteHeader(header); err != nil {
		return fmt.Errorf("write directory %s: %w", dir, err)
	}
	return nil
}

func addFile(w *tar.Writer, name string, mode fs.FileMode, content []byte) error {
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: name, Mode: int64(mode.Perm()), Size: int64(len(content)), ModTime: time.Unix(0, 0),
	}
	if err := w.WriteHeader(header); err != nil {
		return fmt.Errorf("write file %s: %w", name, err)
	}
	if _, err := io.Copy(w, bytes.NewReader(content)); err != nil {
		return fmt.Errorf("write file %s: %w", name, err)
	}
	return nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
