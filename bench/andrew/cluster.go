package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bfsd/replica/config"
)

// cluster is what the benchmark sees and does of a running cluster from outside: the status pages, and signals to the
// replicas' processes.
type cluster struct {
	server  *server
	f       int
	status  []string // addresses of status pages, by replica
	http    *http.Client
	started []*process // replicas that were started again, by replica; nil for the others

	settings *settings
}

const (
	statusTimeout  = 500 * time.Millisecond // a stopped replica's kernel takes connections, and nobody answers
	statusBytesMax = 1 << 16
	pollInterval   = 20 * time.Millisecond
	equalTimeout   = time.Minute
)

func newCluster(s *server) (*cluster, error) {
	c, err := config.Load(filepath.Join(s.clusterDir(), "cluster.toml"))
	if err != nil {
		return nil, err
	}
	dial := s.launcher.dial
	k := &cluster{
		server: s, f: c.F(), started: make([]*process, c.N()),
		http: &http.Client{Timeout: statusTimeout, Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext:       func(ctx context.Context, _, address string) (net.Conn, error) { return dial(ctx, address) },
		}},
	}
	t := c.Tunables
	k.settings = &settings{t.CheckpointInterval, t.BatchRequests, t.BatchBytes, t.BatchWindow, t.ViewChangeTimeoutMS, c.N() + 1}
	for _, r := range c.Replicas {
		k.status = append(k.status, r.Status)
	}
	return k, nil
}

func (k *cluster) n() int { return len(k.status) }

// replicaStatus is what a replica says of itself.
type replicaStatus struct {
	View      uint64 `json:"view"`
	Executed  uint64 `json:"executed"`
	Committed uint64 `json:"committed"`
	Root      string `json:"root"`
	Fetching  bool   `json:"fetching"`
	InDoubt   bool   `json:"in_doubt"`
}

// ask asks a replica how it is.
func (k *cluster) ask(ctx context.Context, id int) (s replicaStatus, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+k.status[id]+"/status", nil)
	if err != nil {
		return s, err
	}
	response, err := k.http.Do(request)
	if err != nil {
		return s, fmt.Errorf("ask replica %d for its status: %w", id, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return s, fmt.Errorf("ask replica %d for its status: it answered %s", id, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, statusBytesMax)).Decode(&s); err != nil {
		return s, fmt.Errorf("ask replica %d for its status: %w", id, err)
	}
	return s, nil
}

// view is the highest that f+1 replicas have reached: a correct one is among them.
func (k *cluster) view(ctx context.Context) (uint64, error) {
	var views []uint64
	var errs []error
	for id := range k.n() {
		s, err := k.ask(ctx, id)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		views = append(views, s.View)
	}
	if len(views) <= k.f {
		return 0, fmt.Errorf("only %d replicas answer: %w", len(views), errors.Join(errs...))
	}
	slices.Sort(views)
	return views[len(views)-1-k.f], nil
}

// primary is that of the cluster's view.
func (k *cluster) primary(ctx context.Context) (id int, view uint64, err error) {
	view, err = k.view(ctx)
	return int(view % uint64(k.n())), view, err
}

// pid is the process of a replica.
func (k *cluster) pid(id int) (int, error) {
	text, err := os.ReadFile(filepath.Join(k.server.clusterDir(), fmt.Sprintf("replica-%d", id), "pid"))
	if err != nil {
		return 0, fmt.Errorf("find the process of replica %d: %w", id, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("find the process of replica %d: its pid file says %q", id, text)
	}
	return pid, nil
}

func (k *cluster) signal(id int, signal syscall.Signal) error {
	pid, err := k.pid(id)
	if err == nil {
		err = syscall.Kill(pid, signal)
	}
	if err != nil {
		return fmt.Errorf("send %v to replica %d: %w", signal, id, err)
	}
	return nil
}

// how is the command and the environment that a process was started with.
type how struct{ args, env []string }

// kill ends a replica at once, as a crash does, and returns how it could be started again.
func (k *cluster) kill(ctx context.Context, id int) (how, error) {
	pid, err := k.pid(id)
	if err != nil {
		return how{}, err
	}
	var h how
	for file, list := range map[string]*[]string{"cmdline": &h.args, "environ": &h.env} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			return how{}, fmt.Errorf("see how replica %d was started: %w", id, err)
		}
		for entry := range bytes.SplitSeq(bytes.TrimSuffix(text, []byte{0}), []byte{0}) {
			*list = append(*list, string(entry))
		}
	}
	// The replica holds a pipe from bfsd up by which it notices its end. One that the benchmark starts has none.
	h.env = slices.DeleteFunc(h.env, func(entry string) bool { return strings.HasPrefix(entry, "BFSD_LIFELINE=") })
	if err := k.signal(id, syscall.SIGKILL); err != nil {
		return how{}, err
	}
	if p := k.started[id]; p != nil {
		<-p.done
		k.started[id] = nil
		return h, nil
	}
	// Until its parent has seen its end it still holds its directory.
	return h, await(ctx, fmt.Sprintf("the end of replica %d", id), func() (bool, error) {
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH), nil
	})
}

// restart starts a replica that was killed as it was started before.
func (k *cluster) restart(ctx context.Context, id int, h how) error {
	cmd := k.server.launcher.command(context.WithoutCancel(ctx), h.args[0], h.args[1:]...)
	cmd.Env = h.env
	p, err := startProcess(fmt.Sprintf("replica %d", id), cmd)
	k.started[id] = p
	return err
}

// awaitCaughtUp waits until a replica that was started again has executed what the others had when it was, and so has the
// state.
func (k *cluster) awaitCaughtUp(ctx context.Context, id int) error {
	var target uint64
	for other := range k.n() {
		if s, err := k.ask(ctx, other); err == nil && other != id {
			target = max(target, s.Executed)
		}
	}
	return await(ctx, fmt.Sprintf("replica %d to catch up with batch %d", id, target), func() (bool, error) {
		if err := k.started[id].ended(); err != nil {
			return false, err
		}
		s, err := k.ask(ctx, id)
		return err == nil && !s.Fetching && s.Executed >= target, nil
	})
}

// awaitVoting waits until a replica that was started again is sure of what it said before, and votes.
func (k *cluster) awaitVoting(ctx context.Context, id int) error {
	return await(ctx, fmt.Sprintf("replica %d to vote again", id), func() (bool, error) {
		s, err := k.ask(ctx, id)
		return err == nil && !s.InDoubt, nil
	})
}

// awaitEqual waits until all replicas but those excepted have executed and committed the same, and compares their roots. It
// returns how many it compared.
func (k *cluster) awaitEqual(ctx context.Context, except []int) (compared int, err error) {
	var now stand
	err = await(ctx, "the replicas to have one state", func() (bool, error) {
		now = k.stand(ctx, except)
		return now.settled(), nil
	})
	if err == nil && !now.equal() {
		err = errors.New("they have executed the same and have other states")
	}
	if err != nil {
		return 0, fmt.Errorf("compare the replicas' states: %w; %v", err, now)
	}
	return len(now), nil
}

// stand is where replicas are, by number.
type stand map[int]replicaAnswer

type replicaAnswer struct {
	replicaStatus
	err error
}

func (k *cluster) stand(ctx context.Context, except []int) stand {
	now := stand{}
	for id := range k.n() {
		if !slices.Contains(except, id) {
			s, err := k.ask(ctx, id)
			now[id] = replicaAnswer{s, err}
		}
	}
	return now
}

// settled says whether all answer and have executed and committed the same.
func (s stand) settled() bool {
	executed := map[uint64]bool{}
	for _, r := range s {
		if r.err != nil || r.Committed != r.Executed || r.Fetching || r.Root == "" {
			return false
		}
		executed[r.Executed] = true
	}
	return len(executed) == 1
}

func (s stand) equal() bool {
	roots := map[string]bool{}
	for _, r := range s {
		roots[r.Root] = true
	}
	return len(roots) == 1
}

// String tells it replica by replica.
func (s stand) String() string {
	var list []string
	for _, id := range slices.Sorted(maps.Keys(s)) {
		r := s[id]
		if r.err != nil {
			list = append(list, r.err.Error())
			continue
		}
		list = append(list, fmt.Sprintf("replica %d has executed %d, committed %d, root %.16s, fetching %t", id, r.Executed, r.Committed, r.Root, r.Fetching))
	}
	return strings.Join(list, "; ")
}

// stop ends the replicas that were started again.
func (k *cluster) stop() error {
	var errs []error
	for i, p := range k.started {
		if p != nil {
			errs = append(errs, p.stop())
			k.started[i] = nil
		}
	}
	return errors.Join(errs...)
}

// await polls until a condition in other processes holds, which cannot tell.
func await(ctx context.Context, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, equalTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		ok, err := holds()
		if err != nil || ok {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		}
	}
}
