// Package atomicfile writes small files so that a crash leaves the old file or the new one, never a mixture.
//
// It knows nothing of what the files hold. Key files (package auth) and cluster.toml (package config) are written with it.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace writes data to path with exactly the permission bits perm: to a temporary file in the same directory, synced,
// renamed over path, and the directory synced.
func Replace(path string, data []byte, perm fs.FileMode) error {
	tmp, err := writeTemp(path, data, perm)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(fmt.Errorf("replacing %s: %w", path, err), os.Remove(tmp))
	}
	return syncDir(filepath.Dir(path))
}

// Create is Replace for a file that must not exist: if it does, the error is fs.ErrExist and the file is untouched. The
// name is claimed with a hard link, which (unlike rename) fails when another process was quicker.
func Create(path string, data []byte, perm fs.FileMode) error {
	tmp, err := writeTemp(path, data, perm)
	if err != nil {
		return err
	}
	if err := os.Link(tmp, path); err != nil {
		return errors.Join(fmt.Errorf("creating %s: %w", path, err), os.Remove(tmp))
	}
	if err := os.Remove(tmp); err != nil {
		return fmt.Errorf("creating %s: removing its temporary name: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// writeTemp leaves data, synced, in a new file beside path. os.CreateTemp opens it with mode 0600, so that a secret is
// never readable by others, not even for a moment; perm is set afterwards.
func writeTemp(path string, data []byte, perm fs.FileMode) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-*")
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("writing %s: %w", path, err), f.Close(), os.Remove(f.Name()))
		}
	}()
	if _, err := f.Write(data); err != nil {
		return "", err
	}
	if err := f.Chmod(perm); err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	return f.Name(), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing directory %s: %w", dir, err)
	}
	if err := d.Sync(); err != nil {
		return errors.Join(fmt.Errorf("syncing directory %s: %w", dir, err), d.Close())
	}
	return d.Close()
}
