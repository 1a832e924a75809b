package fsstate

// Result is the outcome of one operation: a pointer to one of the structs below. Failures are results too, and carry
// the attributes that RFC 1813 lets a failed call return.
type Result interface {
	Code() Status
}

// Head begins every result, so that a result of any kind can be asked for its status, and an encoding that holds
// nothing but a status decodes as every kind.
type Head struct {
	Status Status
}

// Code implements Result.
func (h Head) Code() Status { return h.Status }

// GetAttrResult answers GetAttr.
type GetAttrResult struct {
	Head
	Attr Attr
}

// SetAttrResult answers SetAttr.
type SetAttrResult struct {
	Head
	Wcc Wcc
}

// LookupResult answers Lookup and Resolve. Attr is the object's, Dir the directory's (nil for Resolve).
type LookupResult struct {
	Head
	Object Handle
	Attr   *Attr
	Dir    *Attr
}

// AccessResult answers Access.
type AccessResult struct {
	Head
	Attr    *Attr
	Granted uint32
}

// ReadLinkResult answers ReadLink.
type ReadLinkResult struct {
	Head
	Attr   *Attr
	Target string
}

// ReadResult answers Read. EOF is true when the bytes reach the end of the file.
type ReadResult struct {
	Head
	Attr *Attr
	EOF  bool
	Data []byte
}

// WriteResult answers Write.
type WriteResult struct {
	Head
	Wcc   Wcc
	Count uint32
}

// CreateResult answers Create, Mkdir, Symlink and Mknod.
type CreateResult struct {
	Head
	Object Handle
	Attr   *Attr
	Dir    Wcc
}

// RemoveResult answers Remove and Rmdir.
type RemoveResult struct {
	Head
	Dir Wcc
}

// RenameResult answers Rename.
type RenameResult struct {
	Head
	From Wcc
	To   Wcc
}

// LinkResult answers Link.
type LinkResult struct {
	Head
	Attr *Attr
	Dir  Wcc
}

// DirEntry is one entry of a listing. Cookie resumes after it. Attr and Gen are set with Plus.
type DirEntry struct {
	Name   string
	Cookie uint64
	Ino    uint64
	Gen    uint64
	Attr   *Attr
}

// ReadDirResult answers ReadDir.
type ReadDirResult struct {
	Head
	Dir     *Attr
	Verf    uint64
	EOF     bool
	Entries []DirEntry
}

// StatFSResult answers StatFS. Bytes and inodes.
type StatFSResult struct {
	Head
	Attr       *Attr
	TotalBytes uint64
	FreeBytes  uint64
	TotalFiles uint64
	FreeFiles  uint64
}
