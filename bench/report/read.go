package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"bfsd/bench/internal/measure"
)

// summaryBytesMax bounds a summary.json.
const summaryBytesMax = 64 << 20

// head is what the benchmarks' summaries have in common.
type head struct {
	Date    time.Time       `json:"date"`
	Command []string        `json:"command"`
	Machine measure.Machine `json:"machine"`
}

// measurement is what one directory holds: one of the three.
type measurement struct {
	dir    string
	head   head
	andrew *andrewSummary
	null   *nullSummary
	wan    *wanSummary
}

// andrewSummary is what is used of bench/andrew's summary.
type andrewSummary struct {
	Workload   string             `json:"workload"` // "" in files of before there was more than one
	Client     string             `json:"client"`
	Kernel     string             `json:"kernel"`
	Scale      int                `json:"scale"`
	Durability string             `json:"durability"`
	Compiler   string             `json:"compiler"`
	Baseline   string             `json:"baseline"`
	Files      int                `json:"files"`
	Bytes      int64              `json:"bytes"`
	Units      map[string]string  `json:"units"`
	About      map[string]string  `json:"about"`
	Settings   *andrewSettings    `json:"settings"`
	Load       *measure.Statistic `json:"load"`
	Targets    []andrewTarget     `json:"targets"`
	Skipped    []struct {
		Target string `json:"target"`
		Reason string `json:"reason"`
	} `json:"skipped"`
}

type andrewSettings struct {
	CheckpointInterval  uint64 `json:"checkpoint_interval"`
	BatchRequests       int    `json:"batch_requests"`
	BatchBytes          int    `json:"batch_bytes"`
	BatchWindow         int    `json:"batch_window"`
	ViewChangeTimeoutMS int    `json:"view_change_timeout_ms"`
	Processes           int    `json:"processes"`
}

type andrewTarget struct {
	Target           string                        `json:"target"`
	Fault            string                        `json:"fault"`
	Replicas         int                           `json:"replicas"`
	Durability       string                        `json:"durability"`
	Runs             int                           `json:"runs"`
	Failed           int                           `json:"failed"`
	Phases           map[string]*measure.Statistic `json:"phases"`
	Rates            map[string]*measure.Statistic `json:"rates"`
	Total            *measure.Statistic            `json:"total"`
	TotalWithoutMake *measure.Statistic            `json:"total_without_make"`
	LongestPause     *measure.Statistic            `json:"longest_pause"`
	Probe            *measure.Statistic            `json:"probe"`
	Recovered        *measure.Statistic            `json:"recovered"`
	ViewChanges      *measure.Statistic            `json:"view_changes"`
	RPCs             *measure.Statistic            `json:"rpcs"`
	ToNormal         *float64                      `json:"to_normal"`
}

// nullSummary is what is used of bench/null's summary.
type nullSummary struct {
	LoadBefore float64            `json:"load_before"`
	Durability string             `json:"durability"`
	Gateways   int                `json:"gateways"`
	Runs       int                `json:"runs"`
	Echo       *measure.Statistic `json:"tcp_echo_p50"`
	Entries    []nullEntry        `json:"entries"`
}

type nullEntry struct {
	Part       string             `json:"part"`
	Target     string             `json:"target"`
	Replicas   int                `json:"replicas"`
	Off        string             `json:"switched_off"`
	Mode       string             `json:"mode"`
	Op         string             `json:"op"`
	Clients    int                `json:"clients"`
	Runs       int                `json:"runs"`
	Failed     int                `json:"failed"`
	P50        *measure.Statistic `json:"p50"`
	P99        *measure.Statistic `json:"p99"`
	P999       *measure.Statistic `json:"p999"`
	Throughput *measure.Statistic `json:"throughput"`
}

// wanSummary is what is used of bench/wan's summary.
type wanSummary struct {
	Source  string     `json:"source"`
	Regions []string   `json:"regions"`
	Groups  []wanGroup `json:"groups"`
}

type wanGroup struct {
	F        int        `json:"f"`
	Replicas int        `json:"replicas"`
	Primary  string     `json:"primary"`
	Entries  []wanEntry `json:"entries"`
}

type wanEntry struct {
	Load   string  `json:"load"`
	Region string  `json:"region"`
	Op     string  `json:"op"`
	Calls  int     `json:"calls"`
	P50    float64 `json:"p50"`
	P99    float64 `json:"p99"`
}

// read reads a directory. The error is os.ErrNotExist if nothing was measured there.
func read(dir string) (m measurement, err error) {
	name := filepath.Join(dir, "summary.json")
	info, err := os.Stat(name)
	if err != nil {
		return m, fmt.Errorf("read what was measured: %w", err)
	}
	if info.Size() > summaryBytesMax {
		return m, fmt.Errorf("read what was measured: %s has %d bytes, no benchmark writes so many", name, info.Size())
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return m, fmt.Errorf("read what was measured: %w", err)
	}
	if m, err = parse(text); err != nil {
		return m, fmt.Errorf("read %s: %w", name, err)
	}
	m.dir = filepath.Base(dir)
	return m, nil
}

// parse tells by its fields which benchmark wrote a summary.
func parse(text []byte) (m measurement, err error) {
	if err := json.Unmarshal(text, &m.head); err != nil {
		return m, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return m, err
	}
	has := func(name string) bool { _, ok := fields[name]; return ok }
	switch {
	case has("targets"):
		m.andrew = &andrewSummary{}
		err = json.Unmarshal(text, m.andrew)
		if m.andrew.Workload == "" {
			m.andrew.Workload = "andrew"
		}
	case has("entries"):
		m.null = &nullSummary{}
		err = json.Unmarshal(text, m.null)
	case has("groups") && has("regions"):
		m.wan = &wanSummary{}
		err = json.Unmarshal(text, m.wan)
	default:
		err = errors.New("this is no summary of bench/andrew, bench/null or bench/wan")
	}
	return m, err
}
