package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path"
)

// postmark is a script like PostMark's (Katcher, NetApp TR-3022, 1997): a mail server's many small files that come, grow and
// go. Create makes a pool of files. A transaction creates or deletes a file, then reads one or appends to one, each as likely
// as the other. Delete removes half of the files that are left, and not all as PostMark does: the others are there for the
// verification. What is read is compared at once.
type postmark struct {
	w       workload
	rng     *rand.Rand
	content content
	pool    []pooled
	made    int
}

// pooled is a file of the pool. Its bytes are a function of its number and its size.
type pooled struct{ number, size int }

// The pool and the transactions of one unit of scale. Sizes are those of TOCS 20(4) §8.
const (
	poolFilesPerScale    = 50 // in one directory
	transactionsPerScale = 100
	poolFileBytesMin     = 512
	poolFileBytesMax     = 16 << 10
)

func newPostmark(w workload) *postmark {
	return &postmark{w: w, rng: rand.New(rand.NewPCG(w.Seed, poolFilesPerScale)), content: newContent(w.Seed)}
}

func (m *postmark) size() (files int, bytes int64) {
	files = poolFilesPerScale * m.w.Scale
	return files, int64(files) * (poolFileBytesMin + poolFileBytesMax) / 2
}

func (m *postmark) run(ctx context.Context, r *phaseRun, p phase) (float64, error) {
	switch p {
	case phaseCreate:
		return m.createPool(ctx, r)
	case phaseTransactions:
		n := transactionsPerScale * m.w.Scale
		return float64(n), r.each(ctx, p, n, func(int) error { return m.transact(r) })
	case phaseDelete:
		half := (len(m.pool) + 1) / 2
		return float64(half), r.each(ctx, p, half, func(i int) error { return m.remove(r, i) })
	default:
		panic("postmark has no phase " + string(p))
	}
}

func (m *postmark) createPool(ctx context.Context, r *phaseRun) (float64, error) {
	for i := range m.w.Scale {
		name := poolDir(r.root, i)
		if err := r.timed("mkdir", name, func() error { return r.fs.Mkdir(name) }); err != nil {
			return 0, err
		}
	}
	n := poolFilesPerScale * m.w.Scale
	return float64(n), r.each(ctx, phaseCreate, n, func(int) error { return m.create(r) })
}

// transact decides by the generator alone, so that a verification, which has no file system to ask, decides alike.
func (m *postmark) transact(r *phaseRun) error {
	var err error
	if m.rng.IntN(2) == 0 || len(m.pool) == 0 {
		err = m.create(r)
	} else {
		err = m.remove(r, m.rng.IntN(len(m.pool)))
	}
	if err != nil || len(m.pool) == 0 {
		return err
	}
	i := m.rng.IntN(len(m.pool))
	if m.rng.IntN(2) == 0 {
		return m.read(r, m.pool[i])
	}
	return m.grow(r, i)
}

func (m *postmark) create(r *phaseRun) error {
	f := pooled{m.made, poolFileBytesMin + m.rng.IntN(poolFileBytesMax-poolFileBytesMin+1)}
	m.made++
	m.pool = append(m.pool, f)
	if r == nil {
		return nil
	}
	name := m.name(r.root, f)
	return r.timed("create", name, func() error { return r.fs.WriteFile(name, m.content.prefix(f.number, f.size)) })
}

func (m *postmark) remove(r *phaseRun, i int) error {
	f := m.pool[i]
	m.pool[i] = m.pool[len(m.pool)-1]
	m.pool = m.pool[:len(m.pool)-1]
	if r == nil {
		return nil
	}
	name := m.name(r.root, f)
	return r.timed("remove", name, func() error { return r.fs.Remove(name) })
}

func (m *postmark) read(r *phaseRun, f pooled) error {
	if r == nil {
		return nil
	}
	name := m.name(r.root, f)
	return r.timed("read", name, func() error {
		data, err := r.fs.ReadFile(name)
		if err != nil {
			return err
		}
		return m.compare(f, data)
	})
}

// grow appends; a file at the largest size stays as it is, as PostMark's do.
func (m *postmark) grow(r *phaseRun, i int) error {
	f := &m.pool[i]
	before := f.size
	f.size = min(f.size+1+m.rng.IntN(poolFileBytesMax-poolFileBytesMin), poolFileBytesMax)
	if r == nil || f.size == before {
		return nil
	}
	name, data := m.name(r.root, *f), m.content.prefix(f.number, f.size)[before:]
	return r.timed("append", name, func() error { return r.fs.Append(name, data) })
}

func (m *postmark) compare(f pooled, data []byte) error {
	if !bytes.Equal(data, m.content.prefix(f.number, f.size)) {
		return errShort(len(data), f.size)
	}
	return nil
}

func poolDir(root string, i int) string { return path.Join(root, fmt.Sprintf("pool%04d", i)) }

func (m *postmark) name(root string, f pooled) string {
	return path.Join(poolDir(root, f.number%m.w.Scale), fmt.Sprintf("mail%06d", f.number))
}

// replay makes the same decisions without a file system, up to the last phase.
func (m *postmark) replay() {
	for range poolFilesPerScale * m.w.Scale {
		_ = m.create(nil) // without a run there is nothing that fails, here and below
	}
	if m.w.needs(phaseTransactions) {
		for range transactionsPerScale * m.w.Scale {
			_ = m.transact(nil)
		}
	}
	if m.w.needs(phaseDelete) {
		for i := range (len(m.pool) + 1) / 2 {
			_ = m.remove(nil, i)
		}
	}
}

func (m *postmark) verify(ctx context.Context, fs fileSystem, root string) (v verification, err error) {
	m.replay()
	names := make([][]string, m.w.Scale)
	for _, f := range m.pool {
		dir := f.number % m.w.Scale
		names[dir] = append(names[dir], path.Base(m.name(root, f)))
	}
	for i, want := range names {
		if err := verifyDir(fs, poolDir(root, i), want); err != nil {
			return v, err
		}
	}
	for _, f := range m.pool {
		if err := ctx.Err(); err != nil {
			return v, err
		}
		if err := v.file(fs, m.name(root, f), func(data []byte) error { return m.compare(f, data) }); err != nil {
			return v, err
		}
	}
	return v, nil
}
