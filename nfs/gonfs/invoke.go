package gonfs

import (
	"context"
	"fmt"
	"time"

	"bfsd/fsstate"
	"bfsd/nfs"
)

// invoker runs operations on a backend under one identity. go-billy's methods take no context, so the one that ends
// their operations lives here.
type invoker struct {
	ctx     context.Context
	backend nfs.Backend
	cred    fsstate.Cred
	timeout time.Duration      // for each operation; 0 for none
	changed func(fsstate.Args) // before every operation that may change something; may be nil
	failed  func(error)        // when no result is known; may be nil
}

// call runs one operation. A status other than OK comes back as its errno beside the result, which may still carry
// attributes. Any other error means that no result is known: the operation may or may not have been executed.
func call[R fsstate.Result](i *invoker, args fsstate.Args) (R, error) {
	var none R
	if !args.ReadOnly() && i.changed != nil {
		i.changed(args)
	}
	r, err := i.invoke(args)
	if err != nil {
		err = fmt.Errorf("run %T: %w", args, err)
		if i.failed != nil {
			i.failed(err)
		}
		return none, err
	}
	res, ok := r.(R)
	if !ok {
		return none, fmt.Errorf("run %T: answered with %T", args, r)
	}
	return res, errnoOf(r.Code())
}

// invoke sends no transaction id: go-nfs turns one RPC into several operations and tells us of no id, so a call resent
// after a reconnection is executed again.
func (i *invoker) invoke(args fsstate.Args) (fsstate.Result, error) {
	ctx := i.ctx
	if i.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, i.timeout)
		defer cancel()
	}
	op := fsstate.Op{Cred: i.cred, Args: args}
	b, err := i.backend.Invoke(ctx, fsstate.EncodeOp(&op), args.ReadOnly())
	if err != nil {
		return nil, err
	}
	return fsstate.DecodeResult(args.Kind(), b)
}

// node is an object as an operation found it.
type node struct {
	handle fsstate.Handle
	attr   fsstate.Attr
}

// nodeOf completes a result's handle and optional attributes, which only a result without attributes costs an operation.
func (i *invoker) nodeOf(h fsstate.Handle, a *fsstate.Attr) (node, error) {
	if a != nil {
		return node{handle: h, attr: *a}, nil
	}
	r, err := call[*fsstate.GetAttrResult](i, &fsstate.GetAttr{Object: h})
	if err != nil {
		return node{}, err
	}
	return node{handle: h, attr: r.Attr}, nil
}

func (i *invoker) resolve(path string) (node, error) {
	r, err := call[*fsstate.LookupResult](i, &fsstate.Resolve{Path: path})
	if err != nil {
		return node{}, err
	}
	return i.nodeOf(r.Object, r.Attr)
}

func (i *invoker) lookup(dir fsstate.Handle, name string) (node, error) {
	r, err := call[*fsstate.LookupResult](i, &fsstate.Lookup{Dir: dir, Name: name})
	if err != nil {
		return node{}, err
	}
	return i.nodeOf(r.Object, r.Attr)
}
