//go:build !linux

package main

import "errors"

func (n netspace) do(f func() error) error {
	if n != "" {
		return errors.New("--netns: only Linux has network namespaces")
	}
	return f()
}
