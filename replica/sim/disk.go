package sim

import (
	"bfsd/replica"
	"bfsd/replica/pbft"
	"bfsd/replica/wire"
)

// disk is what a replica keeps over a crash: a log, of which only what was synced is sure to survive, and the last
// checkpoint, which is replaced in one step. See replica/store for the real one.
type disk struct {
	log      []logRecord
	appended uint64 // records ever appended
	durable  uint64 // of those, how many are synced
	stable   *checkpoint

	doubt *pbft.Doubt // nil: what is here is all that was synced, and the replica knows it
	view  wire.View   // of the records about views that are durable, whatever became of them: the store's second place
}

type logRecord struct {
	n    uint64 // its place: the first has 1
	seq  wire.Seq
	view wire.View
	data []byte
}

// checkpoint is a state with its certificate. The pages are read from the frozen state when somebody asks for them.
type checkpoint struct {
	at    wire.CheckpointRef
	proof []*wire.Checkpoint
	state replica.Snapshot
}

func (d *disk) append(e pbft.Persist) {
	d.appended++
	d.log = append(d.log, logRecord{d.appended, e.Seq, e.View, e.Record})
}

// synced makes the records up to a place durable.
func (d *disk) synced(to uint64) {
	d.durable = to
	for _, r := range d.log {
		if r.n <= to {
			d.view = max(d.view, r.view)
		}
	}
}

// crash loses what was not synced, less the first survivors records of it, which had reached the platter.
func (d *disk) crash(survivors uint64) {
	last := min(d.durable+survivors, d.appended)
	kept := d.log[:0:0]
	for _, r := range d.log {
		if r.n <= last {
			kept = append(kept, r)
		}
	}
	d.log, d.appended = kept, last
	d.synced(last)
}

// adopt replaces the checkpoint, and drops the records that it makes superfluous: those of batches up to it, and of those
// about views all before the newest durable one.
func (d *disk) adopt(c *checkpoint) {
	d.stable = c
	view := uint64(0)
	for _, r := range d.log {
		if r.seq == 0 && r.n <= d.durable {
			view = r.n
		}
	}
	kept := d.log[:0:0]
	for _, r := range d.log {
		if r.seq > c.at.Seq || r.seq == 0 && r.n >= view {
			kept = append(kept, r)
		}
	}
	d.log = kept
}

// records gives the log as a restarted replica finds it.
func (d *disk) records() [][]byte {
	list := make([][]byte, len(d.log))
	for i, r := range d.log {
		list[i] = r.data
	}
	return list
}
