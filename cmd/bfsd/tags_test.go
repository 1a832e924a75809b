//go:build !byzantine

package main

// buildTags are those that bfsdBinary builds with.
const buildTags = ""
