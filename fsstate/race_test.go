//go:build race

package fsstate

// raceDetector says that everything is ten times slower.
const raceDetector = true
