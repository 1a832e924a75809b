// Command andrew runs the Andrew benchmark (Howard et al., TOCS 6(1), 1988), as BFS did (OSDI '99; TOCS 20(4), 2002), on
// NFS servers and compares them: bfsd's replicated file system, the same without replication, go-nfs, nfs-ganesha, the Linux
// kernel's server, anything mounted.
//
// It knows no server's insides: it starts programs, mounts or speaks NFSv3, and measures. Three workloads share everything
// but their phases. The Andrew benchmark works on copies of a source tree that is generated from a seed: MakeDir makes the
// directories, Copy writes the files, ScanDir lists and stats everything, ReadAll reads every byte, Make compiles and links.
// postmark is a mail server's small files, sequential one large file. Every run ends with a verification through a fresh
// mount.
//
// Start reading at main.go. target.go lists the servers (bfsd.go, ganesha.go and knfsd.go start them), workload.go the
// workloads (andrew.go, postmark.go, sequential.go), fault.go what may be wrong meanwhile. bench.go interleaves the runs,
// run.go makes one, phases.go runs a workload on a fileSystem (osfs.go, nfsfs.go); summary.go and table.go write what was
// measured.
package main
