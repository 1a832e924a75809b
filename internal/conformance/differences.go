package conformance

import (
	"slices"
	"strings"
)

// difference is something that NFS version 3, or the Linux client of it, cannot do as a local file system does, so that
// the outcomes of a step may differ.
type difference struct {
	Reason string
	Is     func(d *diff) bool
}

// diff is a step whose outcome on the mount is not that on the reference.
type diff struct {
	c                *Case
	step             *Step
	mount, reference Outcome
}

func (d *diff) errs(mount, reference string) bool {
	return d.mount.Err == mount && d.reference.Err == reference
}

func (d *diff) op(names ...string) bool { return slices.Contains(names, d.step.Op) }

// differences are all that are known of a mount with caches. A run of all the matrices must meet each one, or it is to be deleted.
var differences = []difference{
	{
		// nfs_access_calc_mask reads NFS_ACCESS_EXECUTE for directories and regular files only.
		"the client takes nobody to be permitted to execute what is neither file nor directory",
		func(d *diff) bool {
			return d.op("access") && d.errs("EACCES", "") && strings.ContainsAny(d.step.Args[1], "1357")
		},
	},
	{
		// nfs_permission leaves writing a directory to the server; may_delete then looks at types and sticky bits before it, and
		// vfs_mknod at who may make a device.
		"the client finds out what is wrong with the names before the server is asked for permission to write the directory",
		func(d *diff) bool {
			return d.op("unlink", "rmdir", "rename", "mkchr", "mkblk") && d.reference.Err == "EACCES" &&
				slices.Contains([]string{"EPERM", "EISDIR", "ENOTDIR"}, d.mount.Err)
		},
	},
	{
		// notify_change makes of it a change of the mode, which nfs_setattr drops because the server clears the bits itself.
		"a chown that changes neither owner nor group is no call",
		func(d *diff) bool {
			return d.op("chown", "lchown", "fchown") && d.errs("", "EPERM") && d.step.Args[1] == "-1" && d.step.Args[2] == "-1"
		},
	},
	{
		"a working directory that was removed is a stale handle",
		func(d *diff) bool { return d.mount.Err == "ESTALE" },
	},
	{
		// nfs_setattr: "Optimization: if the end result is no change, don't RPC".
		"truncating a file to the size it has is no call, and changes no times",
		func(d *diff) bool { return d.op("watch") },
	},
	{
		// RFC 1813 §2.6, time_how: a new mtime alone is also how the client opens an empty file to truncate it.
		"who may write a file may set its modification time to now, and leave the access time",
		func(d *diff) bool {
			return d.op("utimens") && d.errs("", "EPERM") && d.step.Args[1] == "omit" && d.step.Args[2] == "now"
		},
	},
}

// coldDifferences come on top where the client knows nothing of the names in a directory.
var coldDifferences = []difference{
	{
		// nfs_lookup: "If we're doing an exclusive create, optimize away the lookup"; vfs_link and vfs_mknod then find fault themselves.
		"whether a name to be made exists already is for the server to find, after the client has looked at all else",
		func(d *diff) bool {
			return d.op("link", "linkf", "mkchr", "mkblk") && d.errs("EPERM", "EEXIST")
		},
	},
}
