// Package lint holds the rules of the house that a compiler cannot check, as ordinary Go tests: who may import whom
// (ARCHITECTURE.md, "Rooms"), and that the deterministic packages stay deterministic. A rule here is a function that
// reports violations; its test runs it over the tree, and over a small program that breaks it, so that a rule that has
// stopped seeing fails too.
package lint
