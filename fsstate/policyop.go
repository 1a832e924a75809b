package fsstate

// SetPolicy replaces the export policy. It takes effect with the operations that are ordered after it.
type SetPolicy struct {
	Order     []byte // an encoded PolicyOrder
	Signature []byte // of an operator, on PolicyOrderDomain and then Order
}

// PolicyOrder is what an operator signs. An order that was executed cannot be executed again, since it names the version
// that it replaces. For which cluster it is, the signature tells (see Config.Signed).
type PolicyOrder struct {
	Replaces uint64   // Policy.Version before
	Exports  []Export // their Dir does not count: the path does
}

// PolicyOrderDomain begins what is signed, so that the signature is not one of anything else.
const PolicyOrderDomain = "bfsd/export-policy/1 "

// EncodePolicyOrder returns the encoding of an order, which Execute would refuse if the error is not nil.
func EncodePolicyOrder(o *PolicyOrder) ([]byte, error) {
	p := Policy{Exports: o.Exports}
	if _, err := p.check(); err != nil {
		return nil, refuse(EINVAL, "export policy: %v", err)
	}
	b := appendValue(nil, o)
	if len(b) > policySizeMax {
		return nil, refuse(EFBIG, "export policy of %d bytes, %d at most", len(b), policySizeMax)
	}
	return b, nil
}

// SetPolicyResult answers SetPolicy: EPERM if no operator signed the order, ENOTSYNC if it does not replace the version in
// use, which is Version in any case.
type SetPolicyResult struct {
	Head
	Version uint64
	Failed  string // the path of the export that ENOENT, ENOTDIR or EACCES is about
}

// GetPolicy reads the export policy.
type GetPolicy struct{}

// GetPolicyResult answers GetPolicy.
type GetPolicyResult struct {
	Head
	Policy Policy
}

// ListExports lists the exports that are for the front end that asks.
type ListExports struct{}

// ListExportsResult answers ListExports.
type ListExportsResult struct {
	Head
	Exports []ExportEntry
}

// ExportEntry is what clients are told of an export (RFC 1813 §5.2.5).
type ExportEntry struct {
	Path     string
	Machines []string // empty: all
}

// Kind implements Args.
func (*SetPolicy) Kind() Kind { return KindSetPolicy }

// Kind implements Args.
func (*GetPolicy) Kind() Kind { return KindGetPolicy }

// Kind implements Args.
func (*ListExports) Kind() Kind { return KindListExports }

// ReadOnly implements Args.
func (*SetPolicy) ReadOnly() bool { return false }

// ReadOnly implements Args.
func (*GetPolicy) ReadOnly() bool { return true }

// ReadOnly implements Args.
func (*ListExports) ReadOnly() bool { return true }

const signatureMax = 256 // bytes; Ed25519 has 64

func (a *SetPolicy) check() *OpError {
	if len(a.Order) > policySizeMax || len(a.Signature) > signatureMax {
		return refuse(EBADOP, "export policy of %d bytes with a signature of %d", len(a.Order), len(a.Signature))
	}
	return nil
}

// decodeOrder decodes what an operator signed for a domain.
func (fs *FS) decodeOrder(domain string, order, signature []byte, into any) Status {
	switch {
	case fs.signed == nil || !fs.signed(fs.super.keys.find, append([]byte(domain), order...), signature):
		return EPERM
	case decodeAll(order, into) != nil:
		return EBADOP
	}
	return OK
}

func (fs *FS) setPolicy(a *SetPolicy) *SetPolicyResult {
	r := &SetPolicyResult{Version: fs.view().policy().Version}
	var o PolicyOrder
	if r.Status = fs.decodeOrder(PolicyOrderDomain, a.Order, a.Signature, &o); r.Status != OK {
		return r
	}
	if o.Replaces != r.Version {
		r.Status = ENOTSYNC
		return r
	}
	p := Policy{Version: o.Replaces + 1, Exports: o.Exports}
	if _, err := p.check(); err != nil {
		r.Status = EINVAL
		return r
	}
	for i := range p.Exports {
		e := &p.Exports[i]
		if e.Dir, r.Status = fs.view().directoryAt(e.Path); r.Status != OK {
			r.Failed = e.Path
			return r
		}
	}
	if r.Status = fs.storePolicy(p); r.Status == OK {
		r.Version = p.Version
	}
	return r
}

// directoryAt returns the inode number of the directory that a path leads to.
func (v view) directoryAt(path string) (uint64, Status) {
	var at, next inode
	if !v.inode(rootIno, &at) {
		return 0, EIO
	}
	for {
		var name string
		if name, path = cutPath(path); name == "" {
			return at.ino, OK
		}
		if s := v.search(&Cred{}, &at, name, &next); s != OK {
			return 0, s
		}
		if at = next; at.typ != TypeDirectory {
			return 0, ENOTDIR
		}
	}
}

// policy returns the policy in use.
func (v view) policy() Policy {
	if v.super.policy == nil {
		return Policy{Exports: []Export{defaultExport()}}
	}
	return v.super.policy.Policy
}

func (v view) getPolicy() *GetPolicyResult { return &GetPolicyResult{Policy: v.policy()} }

func (v view) listExports(who caller) *ListExportsResult {
	r := new(ListExportsResult)
	for _, e := range v.policy().Exports {
		if e.isFor(who.via) {
			r.Exports = append(r.Exports, ExportEntry{Path: e.Path, Machines: e.Machines})
		}
	}
	return r
}
