package fsstate

import (
	"maps"
	"slices"
)

// mcells is how many bytes the model tells apart. The last stands for all bytes from there on.
const mcells = 24

// mlocks is the lock table once more, byte by byte: who holds which, and who waits, in a list.
type mlocks struct {
	clients []*mclient
	next    uint64
	files   map[uint64]*mlockFile

	requests int // so far
}

type mclient struct {
	number  uint64
	machine string
	name    LockClient
	state   uint32
	seen    Time
}

type mowner struct {
	client uint64
	svid   uint32
	oh     string
}

type mlockFile struct {
	held   map[mowner]*[mcells]byte // 0, 's'hared or e'x'clusive
	queue  []*mrequest
	shares map[mowner][2]uint32 // access, deny
}

type mrequest struct {
	seq            int
	owner          mowner
	kind           byte
	first, last    int
	length         uint64
	granted, fresh bool
	attempts       int
	since          Time
	front, server  string
}

func (l *mlocks) clone() mlocks {
	c := mlocks{next: l.next, requests: l.requests, files: map[uint64]*mlockFile{}}
	for _, x := range l.clients {
		y := *x
		c.clients = append(c.clients, &y)
	}
	for ino, f := range l.files {
		g := &mlockFile{held: map[mowner]*[mcells]byte{}, shares: maps.Clone(f.shares)}
		for o, cells := range f.held {
			copied := *cells
			g.held[o] = &copied
		}
		for _, r := range f.queue {
			q := *r
			g.queue = append(g.queue, &q)
		}
		c.files[ino] = g
	}
	return c
}

func (m *model) lockFile(ino uint64) *mlockFile {
	f := m.locks.files[ino]
	if f == nil {
		f = &mlockFile{held: map[mowner]*[mcells]byte{}, shares: map[mowner][2]uint32{}}
		m.locks.files[ino] = f
	}
	return f
}

// span is a range in cells.
func span(r LockRange) (first, last int, s Status) {
	switch {
	case r.Offset >= 1<<63 || r.Length > 1<<63-r.Offset:
		return 0, 0, EFBIG
	case r.Length == 0:
		return int(r.Offset), mcells - 1, OK
	}
	return int(r.Offset), int(r.Offset + r.Length - 1), OK
}

func unspan(first, last int) LockRange {
	if last == mcells-1 {
		return LockRange{Offset: uint64(first)}
	}
	return LockRange{uint64(first), uint64(last - first + 1)}
}

func kindOf(exclusive bool) byte {
	if exclusive {
		return 'x'
	}
	return 's'
}

// conflict reports whether other holds a byte that keeps from having kind on it.
func (f *mlockFile) conflict(other, me mowner, kind byte, first, last int) bool {
	if other == me {
		return false
	}
	for _, c := range f.held[other][first : last+1] {
		if c != 0 && (c == 'x' || kind == 'x') {
			return true
		}
	}
	return false
}

// against lists who is in the way, in order.
func (f *mlockFile) against(me mowner, kind byte, first, last int) []mowner {
	var all []mowner
	for o := range f.held {
		if f.conflict(o, me, kind, first, last) {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, cmpOwner)
	return all
}

func cmpOwner(a, b mowner) int {
	switch {
	case a == b:
		return 0
	case a.client < b.client, a.client == b.client && a.svid < b.svid, a.client == b.client && a.svid == b.svid && a.oh < b.oh:
		return -1
	}
	return 1
}

func (f *mlockFile) paint(o mowner, kind byte, first, last int) {
	if f.held[o] == nil {
		f.held[o] = new([mcells]byte)
	}
	for i := first; i <= last; i++ {
		f.held[o][i] = kind
	}
}

// runs calls yield for each of an owner's locks.
func (f *mlockFile) runs(o mowner, yield func(kind byte, first, last int)) {
	cells := f.held[o]
	for i := 0; cells != nil && i < mcells; {
		j := i
		for j+1 < mcells && cells[j+1] == cells[i] {
			j++
		}
		if cells[i] != 0 {
			yield(cells[i], i, j)
		}
		i = j + 1
	}
}

func (m *model) findClient(name LockClient) *mclient {
	for _, c := range m.locks.clients {
		if c.machine == m.machine && c.name == name {
			return c
		}
	}
	return nil
}

func (m *model) clientByNumber(n uint64) *mclient {
	for _, c := range m.locks.clients {
		if c.number == n {
			return c
		}
	}
	return nil
}

// records counts what a client has.
func (m *model) records(n uint64) (count uint64) {
	for _, f := range m.locks.files {
		for o := range f.held {
			if o.client == n {
				f.runs(o, func(byte, int, int) { count++ })
			}
		}
		for _, r := range f.queue {
			if r.owner.client == n {
				count++
			}
		}
		for o := range f.shares {
			if o.client == n {
				count++
			}
		}
	}
	return count
}

// sweep forgets clients that have nothing.
func (m *model) sweep() {
	m.locks.clients = slices.DeleteFunc(m.locks.clients, func(c *mclient) bool { return m.records(c.number) == 0 })
}

func (m *model) hearClient(name LockClient, state uint32) uint64 {
	c := m.findClient(name)
	switch {
	case c == nil:
		return 0
	case state != 0 && c.state != 0 && int32(state-c.state) > 0:
		m.dropClient(c.number)
		return 0
	}
	if c.state == 0 && state != 0 {
		c.state, c.seen = state, m.last
	}
	if m.last-c.seen >= lockSeenGrain {
		c.seen = m.last
	}
	return c.number
}

func (m *model) enrollClient(name LockClient, state uint32) uint64 {
	if c := m.findClient(name); c != nil {
		return c.number
	}
	m.locks.next++
	m.locks.clients = append(m.locks.clients, &mclient{m.locks.next, m.machine, name, state, m.last})
	return m.locks.next
}

func (m *model) dropClient(n uint64) {
	for _, ino := range slices.Sorted(maps.Keys(m.locks.files)) {
		f := m.locks.files[ino]
		maps.DeleteFunc(f.held, func(o mowner, _ *[mcells]byte) bool { return o.client == n })
		maps.DeleteFunc(f.shares, func(o mowner, _ [2]uint32) bool { return o.client == n })
		f.queue = slices.DeleteFunc(f.queue, func(r *mrequest) bool { return r.owner.client == n })
		m.grantWaiting(f)
	}
	m.sweep()
}

// dropExpired drops the first of the clients that has expired, if one has.
func (m *model) dropExpired(owners []mowner) bool {
	for _, o := range owners { // sorted by client
		if m.last-m.clientByNumber(o.client).seen > LockExpiry {
			m.dropClient(o.client)
			return true
		}
	}
	return false
}

// grantWaiting grants one request after the other, from the head of the queue each time.
func (m *model) grantWaiting(f *mlockFile) {
	for again := true; again; {
		again = false
		for _, r := range f.queue {
			if !r.granted && len(f.against(r.owner, r.kind, r.first, r.last)) == 0 {
				r.fresh = f.none(r.owner, r.first, r.last)
				f.paint(r.owner, r.kind, r.first, r.last)
				r.granted, r.since = true, m.last
				m.woke, again = true, true
				break
			}
		}
	}
}

// none reports whether an owner holds nothing in a range.
func (f *mlockFile) none(o mowner, first, last int) bool {
	return f.held[o] == nil || !slices.ContainsFunc(f.held[o][first:last+1], func(c byte) bool { return c != 0 })
}

func (f *mlockFile) settle(me mowner, kind byte, first, last int) {
	f.queue = slices.DeleteFunc(f.queue, func(r *mrequest) bool {
		return r.owner == me && r.kind == kind && r.first == first && r.last == last
	})
	for _, r := range f.queue {
		if r.granted && r.owner == me && r.first <= last && first <= r.last {
			r.fresh = false
		}
	}
}

// mayLock finds the file to lock.
func (m *model) mayLock(c Cred, h Handle) (*mnode, Status) {
	n := m.get(h)
	switch {
	case n == nil:
		return nil, ESTALE
	case n.attr.Type == TypeDirectory:
		return nil, EISDIR
	case n.attr.Type != TypeRegular:
		return nil, EINVAL
	case c.UID == n.attr.UID || may(c, n, 'r') || may(c, n, 'w') || may(c, n, 'x'):
		return n, OK
	}
	return nil, EACCES
}

func (m *model) lockOp(c Cred, args Args) Result {
	m.woke = false
	var s Status
	blocked := false
	switch a := args.(type) {
	case *Lock:
		s, blocked = m.lock(c, a)
	case *LockTest:
		return m.lockTest(c, a)
	case *LockCancel:
		s = m.lockCancel(a)
	case *Unlock:
		s = m.unlock(a)
	case *Share:
		s = m.share(c, a)
	case *Unshare:
		n := m.get(a.Object)
		if n == nil {
			s = ESTALE
			break
		}
		delete(m.lockFile(n.attr.Ino).shares, mowner{m.hearClient(a.Owner.Client, 0), 0, a.Owner.OH})
	case *LockRelease:
		if x := m.findClient(a.Client); x != nil && (a.All || x.state == 0 || int32(a.State-x.state) > 0) {
			m.dropClient(x.number)
		}
	case *LockRenew:
		for _, n := range a.Clients {
			if x := m.clientByNumber(n); x != nil {
				x.seen = m.last
			}
		}
	case *LockClients:
		r := &LockClientsResult{}
		for _, x := range m.locks.clients {
			if x.number > a.After {
				r.Clients = append(r.Clients, LockClientInfo{x.number, x.machine, x.name.Via, x.seen})
			}
		}
		return r
	default:
		panic("the model does not know this operation")
	}
	m.sweep()
	return &LockResult{Head{s}, blocked, m.woke}
}

func (m *model) lock(c Cred, a *Lock) (s Status, blocked bool) {
	first, last, s := span(a.Range)
	if s != OK {
		return s, false
	}
	n, s := m.mayLock(c, a.Object)
	if s != OK {
		return s, false
	}
	me := mowner{m.hearClient(a.Owner.Client, a.State), a.Owner.SVID, a.Owner.OH}
	f, kind := m.lockFile(n.attr.Ino), kindOf(a.Exclusive)
	if a.Reclaim {
		for i := first; i <= last; i++ {
			if f.held[me] == nil || f.held[me][i] == 0 || kind == 'x' && f.held[me][i] != 'x' {
				return EAGAIN, false
			}
		}
		f.settle(me, kind, first, last)
		return OK, false
	}
	for m.dropExpired(f.against(me, kind, first, last)) {
		continue
	}
	against := f.against(me, kind, first, last)
	if len(against) == 0 {
		me.client = m.enrollClient(a.Owner.Client, a.State)
		f.paint(me, kind, first, last)
		m.grantWaiting(f)
		f.settle(me, kind, first, last)
		return OK, false
	}
	if !a.Block {
		return EAGAIN, false
	}
	for _, r := range f.queue {
		if !r.granted && r.owner == me && r.kind == kind && r.first == first && r.last == last {
			r.front, r.server = a.Front, a.Server
			return EAGAIN, true
		}
	}
	if m.waitsFor(against, me, map[mowner]bool{}) {
		return EDEADLK, false
	}
	me.client = m.enrollClient(a.Owner.Client, a.State)
	m.locks.requests++
	f.queue = append(f.queue, &mrequest{
		seq: m.locks.requests, owner: me, kind: kind, first: first, last: last, length: a.Range.Length, front: a.Front, server: a.Server,
	})
	return EAGAIN, true
}

// waitsFor reports whether one of the owners waits for me, perhaps through others.
func (m *model) waitsFor(owners []mowner, me mowner, been map[mowner]bool) bool {
	for _, o := range owners {
		if o == me {
			return true
		}
		if been[o] {
			continue
		}
		been[o] = true
		for _, f := range m.locks.files {
			for _, r := range f.queue {
				if !r.granted && r.owner == o && m.waitsFor(f.against(o, r.kind, r.first, r.last), me, been) {
					return true
				}
			}
		}
	}
	return false
}

func (m *model) lockTest(c Cred, a *LockTest) Result {
	first, last, s := span(a.Range)
	var n *mnode
	if s == OK {
		n, s = m.mayLock(c, a.Object)
	}
	if s != OK {
		return &LockTestResult{Head: Head{s}}
	}
	me := mowner{svid: a.Owner.SVID, oh: a.Owner.OH}
	if x := m.findClient(a.Owner.Client); x != nil {
		me.client = x.number
	}
	f := m.lockFile(n.attr.Ino)
	var holder *LockHolder
	for _, o := range f.against(me, kindOf(a.Exclusive), first, last) {
		f.runs(o, func(kind byte, from, to int) {
			if from > last || to < first || kind == 's' && !a.Exclusive || holder != nil && int(holder.Range.Offset) <= from {
				return
			}
			holder = &LockHolder{LockOwner{m.clientByNumber(o.client).name, o.svid, o.oh}, unspan(from, to), kind == 'x'}
		})
	}
	if holder == nil {
		return &LockTestResult{}
	}
	return &LockTestResult{Head{EAGAIN}, holder}
}

func (m *model) lockCancel(a *LockCancel) Status {
	first, last, s := span(a.Range)
	if s != OK {
		return s
	}
	n := m.get(a.Object)
	if n == nil {
		return ESTALE
	}
	me := mowner{m.hearClient(a.Owner.Client, 0), a.Owner.SVID, a.Owner.OH}
	f := m.lockFile(n.attr.Ino)
	for i, r := range f.queue {
		if !r.granted && r.owner == me && r.kind == kindOf(a.Exclusive) && r.first == first && r.last == last {
			f.queue = slices.Delete(f.queue, i, i+1)
			return OK
		}
	}
	return EAGAIN
}

func (m *model) unlock(a *Unlock) Status {
	first, last, s := span(a.Range)
	if s != OK {
		return s
	}
	n := m.get(a.Object)
	if n == nil {
		return ESTALE
	}
	me := mowner{m.hearClient(a.Owner.Client, 0), a.Owner.SVID, a.Owner.OH}
	f := m.lockFile(n.attr.Ino)
	f.paint(me, 0, first, last)
	f.queue = slices.DeleteFunc(f.queue, func(r *mrequest) bool {
		if r.granted {
			return r.owner == me && first <= r.first && r.last <= last
		}
		return r.owner == me && r.first == first && r.last == last
	})
	m.grantWaiting(f)
	return OK
}

func (m *model) share(c Cred, a *Share) Status {
	n, s := m.mayLock(c, a.Object)
	if s != OK {
		return s
	}
	me := mowner{m.hearClient(a.Owner.Client, a.State), 0, a.Owner.OH}
	f := m.lockFile(n.attr.Ino)
	against := func() (all []mowner) {
		for o, sh := range f.shares {
			if o != me && (sh[0]&a.Deny != 0 || sh[1]&a.Access != 0) {
				all = append(all, o)
			}
		}
		slices.SortFunc(all, cmpOwner)
		return all
	}
	for m.dropExpired(against()) {
		continue
	}
	if len(against()) > 0 {
		return EAGAIN
	}
	me.client = m.enrollClient(a.Owner.Client, a.State)
	f.shares[me] = [2]uint32{a.Access, a.Deny}
	return OK
}

// mgrant is a request that was granted, and its file.
type mgrant struct {
	*mrequest
	ino uint64
}

// requests lists all requests, in order of arrival.
func (m *model) requests() (all []mgrant) {
	for ino, f := range m.locks.files {
		for _, r := range f.queue {
			all = append(all, mgrant{r, ino})
		}
	}
	slices.SortFunc(all, func(a, b mgrant) int { return a.seq - b.seq })
	return all
}

// grants lists the grants of a front end; waiting says whether others wait through it.
func (m *model) grants(front string) (all []mgrant, waiting bool) {
	for _, r := range m.requests() {
		if r.front == front && r.granted {
			all = append(all, r)
		}
		waiting = waiting || r.front == front && !r.granted
	}
	return all, waiting
}

// answer does what LockAnswer does to a grant.
func (m *model) answer(ino uint64, r *mrequest, answer GrantAnswer) {
	m.woke = false
	f := m.locks.files[ino]
	release := false
	switch answer {
	case GrantSending:
		r.attempts++
		return
	case GrantAccepted:
	case GrantRefused:
		release = r.attempts < 2
	case GrantUndelivered:
		r.attempts = max(0, r.attempts-1)
		if r.attempts > 0 || m.last < r.since+grantPatience {
			return
		}
		release = true
	}
	f.queue = slices.DeleteFunc(f.queue, func(q *mrequest) bool { return q == r })
	if release && r.fresh {
		f.paint(r.owner, 0, r.first, r.last)
		m.grantWaiting(f)
	}
	m.sweep()
}
