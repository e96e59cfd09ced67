package cluster

import (
	"archive/tar"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"testing/fstest"
	"time"
)

// ImageFile is one regular file of an image.
type ImageFile struct {
	// Path is absolute inside the image; its parent directories are made.
	Path string
	// Mode holds the permission bits; zero means 0644.
	Mode fs.FileMode
	// Source is the file on this machine to copy; without one the file is empty.
	Source string
}

// Image describes a single-layer container image.
type Image struct {
	// Name is the reference pods use, for example "sts-webhook:latest".
	Name string
	// Files are owned by root; the zero value is an empty file system.
	Files []ImageFile
	// Entrypoint is in exec form.
	Entrypoint []string
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
	content, err := img.archive()
	if err != nil {
		return fmt.Errorf("build image %s: %w", img.Name, err)
	}
	return writeFile(archive, content, 0o644)
}

func (img Image) archive() ([]byte, error) {
	layer, err := layerTar(img.Files)
	if err != nil {
		return nil, err
	}
	// https://github.com/opencontainers/image-spec/blob/main/config.md
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"created":      time.Unix(0, 0).UTC(),
		"config":       map[string]any{"Entrypoint": img.Entrypoint, "Env": img.Env, "User": img.User, "Labels": img.Labels},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer)}},
	})
	if err != nil {
		return nil, err
	}
	configName := digest(config) + ".json"
	manifest, err := json.Marshal([]map[string]any{{
		"Config": configName, "RepoTags": []string{img.Name}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return nil, err
	}
	return tarOf(fstest.MapFS{
		configName:      {Data: config, Mode: 0o644},
		"layer.tar":     {Data: layer, Mode: 0o644},
		"manifest.json": {Data: manifest, Mode: 0o644},
	})
}

func layerTar(files []ImageFile) ([]byte, error) {
	tree := fstest.MapFS{}
	for _, f := range files {
		if !path.IsAbs(f.Path) {
			return nil, fmt.Errorf("add file %q: the path is not absolute", f.Path)
		}
		var content []byte
		if f.Source != "" {
			var err error
			if content, err = os.ReadFile(f.Source); err != nil {
				return nil, err
			}
		}
		name := path.Clean(f.Path)[1:]
		tree[name] = &fstest.MapFile{Data: content, Mode: cmp.Or(f.Mode, 0o644)}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			tree[dir] = &fstest.MapFile{Mode: fs.ModeDir | 0o755}
		}
	}
	return tarOf(tree)
}

// tarOf is the archive of a tree in memory, whose files have no owner and no time.
func tarOf(tree fstest.MapFS) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	err := errors.Join(w.AddFS(tree), w.Close())
	return out.Bytes(), err
}

func digest(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
