//go:build race

package kernelclient

const raceDetector = true
