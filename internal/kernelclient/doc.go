// Package kernelclient gives a test or a benchmark a real Linux NFSv3 mount: the client of this machine's kernel where it
// has one, else that of a user-mode Linux kernel, which runs as an ordinary process.
//
// A [Network] is a private network namespace. Servers run in it ([Network.Command], [Network.Listen]) and listen at
// [Address]. A [Guest] is one NFS client machine on that network: it mounts ([Guest.Mount]), runs programs ([Guest.Exec],
// [Guest.Script]) and calls functions of the caller's own program inside the guest, without a fork ([Guest.Call]). Several
// guests are several clients; several networks do not see each other.
//
//	func TestMain(m *testing.M) {
//		kernelclient.Agent(nil) // in a guest this never returns
//		os.Exit(m.Run())
//	}
//
//	network, err := kernelclient.NewNetwork(ctx)
//	server := network.Command(ctx, "bfsd", "plain", "--nfs", kernelclient.Address+":2049")
//	guest, err := network.StartGuest(ctx, kernelclient.GuestOptions{})
//	dir, err := guest.Mount(ctx, kernelclient.MountOptions{Server: kernelclient.Address, Port: 2049})
//	exit, err := guest.Script(ctx, "cp -r /usr/include "+dir, os.Stdout, os.Stderr)
//
// [Guest.StartLocking] and MountOptions.Locks give a guest locks that other machines see; [Guest.Kill] and [Guest.Restart] cut
// its power and bring it back.
//
// How it works: the program executes itself again as the first process of the guest (user-mode Linux), or as a process in a
// mount namespace of its own (native), and that agent serves the host over one TCP connection on the private network. There
// is no file on the host to clean up that matters: the namespace, its wires and the guest's mounts end with the processes
// that use them, and a guest is killed by the kernel when its host process dies.
//
// A user-mode Linux guest has the host's root directory, read-only, as its own, with fresh file systems on /mnt and /run; it
// has one CPU, a system call costs tens of microseconds and a fork some 40 ms.
//
// A user-mode Linux kernel loses an interrupt now and then, which interrupts.go makes up for. A guest that answers nothing
// all the same is taken for frozen; the error then tells what its processes do and what its console said.
//
// It knows nothing of servers. Start reading at network.go, then guest.go; agent.go is the guest's side.
package kernelclient
