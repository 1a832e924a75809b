// Package conformance checks that a mounted file system behaves as POSIX programs expect, from inside a kernel client (see
// package kernelclient). It compares: the same system calls, by the same users, run on the file system under test and on one
// of the guest's own (tmpfs), and whatever a program could tell apart is a finding: the error, the attributes, the data, the
// tree that is left. What NFS version 3 cannot do is listed with its reason, in differences.go.
//
// A [Case] is a script of [Step]s, written as text. Matrices of cases cover what the well-known suites cover, errno by errno;
// rapid makes random ones and shrinks what fails.
//
// A history of one file, reading, writing, truncating and mapping it in several ways at once, is compared with a model of it
// in memory, in the manner of fsx, and with what another client sees ([FileIORequest]). Special checks (special_*_test.go) are programs of
// their own: a listing under change, a removed file in use, names of every byte.
//
// The functions run in the guest: give [Handlers] to kernelclient.Agent. The package knows nothing of servers; its tests start
// bfsd. Start reading at step.go, then run.go, then the matrices, matrix_*_test.go.
package conformance
