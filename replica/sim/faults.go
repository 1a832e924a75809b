package sim

// disturb lets the machines' faults happen, one at a time, until the world is calm.
func (w *world) disturb(stats *Stats) {
	w.after(1+w.fate.Int64N(w.plan.disturbEvery), func() {
		if w.calm {
			return
		}
		w.strike(stats)
		w.disturb(stats)
	})
}

// strike picks a fault among those of the plan; picking one that is switched off leaves the world in peace this time.
func (w *world) strike(stats *Stats) {
	n := w.nodes[w.fate.IntN(len(w.nodes))]
	switch w.fate.IntN(6) {
	case 0, 1:
		switch {
		case !n.up:
			n.start()
		case w.plan.crashes || w.plan.isForgetful(n.id):
			stats.Crashes++
			n.crash()
			if w.plan.isForgetful(n.id) && w.fate.IntN(2) == 0 {
				n.forget()
			}
		}
	case 2:
		if w.plan.powerCuts && w.fate.IntN(3) == 0 {
			w.powerCut(stats)
		}
	case 3:
		if w.plan.pauses && n.up {
			n.paused = w.now + w.fate.Int64N(300*millisecond)
			w.tracef("r%d is stopped until %.3f", n.id, float64(n.paused)/1e9)
		}
	case 4:
		if w.plan.partitions {
			w.tracef("the network parts")
			w.net.partition()
		}
	case 5:
		w.tracef("the network is whole")
		w.net.mend()
	}
}

// powerCut stops all replicas at once, and starts them again.
func (w *world) powerCut(stats *Stats) {
	w.tracef("the power fails")
	for _, n := range w.nodes {
		if n.up {
			stats.Crashes++
			n.crash()
		}
	}
	w.after(w.fate.Int64N(50*millisecond), func() {
		for _, n := range w.nodes {
			if !n.up {
				n.start()
			}
		}
	})
}
